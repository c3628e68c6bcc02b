//! `vserver status`.

use std::fmt::Write;

use serde::Serialize;

use super::stat::size;
use super::{GuestStatus, printable, uptime};
use crate::config::StorageKind;

/// What `status` prints about a guest: util-vserver's lines (its
/// scripts/vserver.functions), then more.
pub fn status(guest: &GuestStatus) -> String {
    let mut text = String::new();
    let name = &guest.name;
    let _ = match (guest.state.is_running(), guest.context) {
        (false, _) => writeln!(text, "Vserver '{name}' is stopped"),
        (true, Some(context)) => {
            writeln!(text, "Vserver '{name}' is running at context '{context}'")
        }
        (true, None) => writeln!(text, "Vserver '{name}' is running"),
    };
    let mut line = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{:<22}{value}", format!("{label}:"));
        }
    };
    line("Number of processes", guest.processes.map(|number| number.to_string()));
    line("Uptime", guest.uptime.map(uptime));
    line("State", Some(state(guest)));
    let style = guest.style.as_ref();
    line("Boot style", style.map(|(style, why)| reasoned(style, why)));
    line("Init", pid(guest.init_pid));
    line("Keeper", pid(guest.keeper_pid));
    line("Supervisor", pid(guest.supervisor_pid));
    line("Users", guest.users.as_deref().map(printable));
    line("Addresses", Some(guest.addresses.join(" ")).filter(|all| !all.is_empty()));
    line("Network", Some(guest.faults.join("; ")).filter(|all| !all.is_empty()));
    let storage = match (guest.storage, guest.ephemeral) {
        (StorageKind::Directory, false) => None,
        (kind, false) => Some(kind.name().to_owned()),
        (kind, true) => Some(format!("{}, ephemeral: forgotten at its stop", kind.name())),
    };
    line("Storage", storage);
    line("Disk", guest.disk.map(|(used, most)| format!("{} of {}", size(used), size(most))));
    line("Restarts", Some(guest.restarts).filter(|n| *n > 0).map(|number| number.to_string()));
    let killed = guest.kills.filter(|number| *number > 0).map(|number| {
        format!("{number} process{} for want of memory", if number == 1 { "" } else { "es" })
    });
    line("Killed", killed);
    line("Last end", guest.last_end.as_deref().map(printable));
    line("Autostart", guest.autostart.map(|is| if is { "yes" } else { "no" }.to_owned()));
    let marks = Some(guest.marks.join(" ")).filter(|all| !all.is_empty());
    line("Marks", marks.as_deref().map(printable));
    let description = Some(guest.description.as_str()).filter(|text| !text.is_empty());
    line("Description", description.map(printable));
    text
}

fn state(guest: &GuestStatus) -> String {
    match guest.runlevel {
        Some(level) => format!("{}, runlevel {}", guest.state, printable(&level.to_string())),
        None => guest.state.to_string(),
    }
}

fn reasoned(what: &str, why: &str) -> String {
    match why {
        "" => printable(what),
        why => format!("{} ({})", printable(what), printable(why)),
    }
}

fn pid(pid: Option<i32>) -> Option<String> {
    pid.map(|pid| format!("pid {pid}"))
}

/// `status --json` of one guest: an object on one line each.
pub fn status_json(guest: &GuestStatus) -> String {
    json(&Object::from(guest))
}

/// `status --json` of several guests: an array.
pub fn statuses_json(guests: &[GuestStatus]) -> String {
    json(&guests.iter().map(Object::from).collect::<Vec<_>>())
}

/// Pretty JSON with a newline.
pub(super) fn json(value: &impl Serialize) -> String {
    // Strings, numbers and their lists: nothing here can fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// The form that scripts depend on: fields are added, never changed.
#[derive(Serialize)]
struct Object<'g> {
    name: &'g str,
    context: Option<u32>,
    state: super::State,
    style: Option<&'g str>,
    style_reason: Option<&'g str>,
    runlevel: Option<char>,
    init_pid: Option<i32>,
    keeper_pid: Option<i32>,
    supervisor_pid: Option<i32>,
    uptime_seconds: Option<u64>,
    processes: Option<u64>,
    addresses: &'g [String],
    users: Option<&'g str>,
    storage: StorageKind,
    disk_bytes: Option<u64>,
    disk_limit_bytes: Option<u64>,
    ephemeral: bool,
    restarts: u32,
    last_end: Option<&'g str>,
    memory_kills: Option<u64>,
    network_faults: &'g [String],
    description: &'g str,
    marks: &'g [String],
    autostart: Option<bool>,
}

impl<'g> From<&'g GuestStatus> for Object<'g> {
    fn from(guest: &'g GuestStatus) -> Self {
        Self {
            name: guest.name.as_str(),
            context: guest.context.map(|context| context.get()),
            state: guest.state,
            style: guest.style.as_ref().map(|(style, _)| style.as_str()),
            style_reason: guest.style.as_ref().map(|(_, why)| why.as_str()),
            runlevel: guest.runlevel,
            init_pid: guest.init_pid,
            keeper_pid: guest.keeper_pid,
            supervisor_pid: guest.supervisor_pid,
            uptime_seconds: guest.uptime.map(|uptime| uptime.as_secs()),
            processes: guest.processes,
            addresses: &guest.addresses,
            users: guest.users.as_deref(),
            storage: guest.storage,
            disk_bytes: guest.disk.map(|(used, _)| used),
            disk_limit_bytes: guest.disk.map(|(_, most)| most),
            ephemeral: guest.ephemeral,
            restarts: guest.restarts,
            last_end: guest.last_end.as_deref(),
            memory_kills: guest.kills,
            network_faults: &guest.faults,
            description: &guest.description,
            marks: &guest.marks,
            autostart: guest.autostart,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::State;
    use std::time::Duration;

    fn running() -> GuestStatus {
        let name = "web".parse().unwrap();
        GuestStatus {
            state: State::Running,
            style: Some(("sysv".into(), "/etc/inittab\x1b".into())),
            runlevel: Some('2'),
            init_pid: Some(100),
            keeper_pid: Some(99),
            supervisor_pid: Some(98),
            uptime: Some(Duration::from_secs(300)),
            processes: Some(5),
            addresses: vec!["192.0.2.1".into(), "2001:db8::1".into()],
            users: Some("private, 1879048192-1879113727".into()),
            storage: StorageKind::Overlay,
            disk: Some((3 << 29, 10 << 30)),
            ephemeral: true,
            restarts: 1,
            last_end: Some("signal 11".into()),
            kills: Some(3),
            faults: vec!["the host has no interface 'br0'".into()],
            marks: vec!["db".into(), "web\x1b".into()],
            autostart: Some(false),
            ..GuestStatus::stopped(name, 42.try_into().ok(), "customer 17".into())
        }
    }

    #[test]
    fn the_first_lines_are_util_vservers() {
        let wanted = "\
Vserver 'web' is running at context '42'
Number of processes:  5
Uptime:               00:05
State:                running, runlevel 2
Boot style:           sysv (/etc/inittab\\x1b)
Init:                 pid 100
Keeper:               pid 99
Supervisor:           pid 98
Users:                private, 1879048192-1879113727
Addresses:            192.0.2.1 2001:db8::1
Network:              the host has no interface 'br0'
Storage:              overlay, ephemeral: forgotten at its stop
Disk:                 1.5G of 10G
Restarts:             1
Killed:               3 processes for want of memory
Last end:             signal 11
Autostart:            no
Marks:                db web\\x1b
Description:          customer 17
";
        assert_eq!(status(&running()), wanted);
    }

    #[test]
    fn a_stopped_guest_has_few_lines() {
        let guest = GuestStatus::stopped("web".parse().unwrap(), None, String::new());
        assert_eq!(status(&guest), "Vserver 'web' is stopped\nState:                stopped\n");
    }

    #[test]
    fn json_has_the_promised_fields() {
        let value: serde_json::Value = serde_json::from_str(&status_json(&running())).unwrap();
        for (field, wanted) in [
            ("name", serde_json::json!("web")),
            ("context", 42.into()),
            ("state", "running".into()),
            ("style", "sysv".into()),
            ("init_pid", 100.into()),
            ("keeper_pid", 99.into()),
            ("supervisor_pid", 98.into()),
            ("uptime_seconds", 300.into()),
            ("processes", 5.into()),
            ("storage", "overlay".into()),
            ("disk_limit_bytes", (10u64 << 30).into()),
            ("ephemeral", true.into()),
            ("addresses", serde_json::json!(["192.0.2.1", "2001:db8::1"])),
            ("marks", serde_json::json!(["db", "web\x1b"])),
            ("autostart", false.into()),
        ] {
            assert_eq!(value.get(field), Some(&wanted), "{field}");
        }
        assert!(statuses_json(&[running()]).starts_with('['));
    }

    #[test]
    fn words_of_states_are_the_same_in_text_and_json() {
        for state in [State::Stopped, State::BackingOff, State::Session, State::Rebooting] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
