//! Starting and stopping one guest, as several verbs need it.

mod booting;
mod going_down;
mod stopping;

use std::time::{Duration, Instant};

use shared::message::{BootMode, Power};
use shared::name::GuestName;

use crate::cgroup;
use crate::commands::{output, turn};
use crate::config;
use crate::control::{Client, Event, Limit, Phase, Request, spawn_supervisor, start_failed};
use crate::error::{Error, Kind, Result};
use crate::facts;
use crate::ids;
use crate::paths::Paths;
use crate::plan::{self, Trial};
use crate::runtime::{Lock, RunDir};
use crate::storage::Scratch;
use crate::supervisor;
use crate::systemd;
use crate::tree::Check;

pub use booting::{reboot, successor};
pub use stopping::{call_off, clear_after, shut_down, stop, unkillable};

use booting::{Awaited, begun, until_up};
use going_down::{Patience, is_going_down};

/// Longest time until a new supervisor is there: it may wait for one that is
/// about to leave.
const ARRIVAL: Duration = Duration::from_secs(30);

/// So many supervisors more are started in the place of one that was killed before its
/// guest's boot began.
const TRIES: u32 = 3;

/// What `start` is asked for beyond the guest's name.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Return as soon as the guest is on its way.
    pub no_wait: bool,
    /// How long it is waited for until it is up.
    pub limit: Limit,
    /// Forget what the guest writes when it is down again.
    pub ephemeral: bool,
    /// A command in place of the boot.
    pub rescue: Option<Vec<String>>,
    /// The caller stays until the guest is down.
    pub foreground: bool,
}

/// Starts a guest; a guest that runs is left alone, with a warning. Others aren't waited for
/// once `check` says no.
///
/// # Errors
/// When the configuration has mistakes, a step of the start fails, or the
/// guest ends before it has reached its runlevel, or isn't there in time; what `check` says.
pub fn start(paths: &Paths, name: &GuestName, wanted: &Start, check: Check<'_>) -> Result<()> {
    let mut tries = 0;
    let result = loop {
        let Some(client) = launch(paths, name, wanted, check)? else { return Ok(()) };
        let awaited = match wanted.no_wait {
            true => begun(paths, client, name),
            false => until_up(paths, client, name, wanted.limit),
        };
        match awaited {
            // The order isn't lost with who was to carry it out.
            Ok(Awaited::NotBegun) if tries < TRIES && may_go_on(paths, name) => tries += 1,
            Ok(Awaited::NotBegun) => break Err(not_begun(name)),
            Ok(Awaited::Reached) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // The supervisor may have ended before it has heard who wants to know.
    result.map_err(|error| match systemd::starts_guests(paths).then(|| ended_unit(name)) {
        Some(Ok(unit)) if unit.active == "failed" => unit_failed(name, &unit),
        _ => error,
    })
}

/// Does nobody but this command start a supervisor in the place of one that has ended, or
/// is systemd about to?
fn may_go_on(paths: &Paths, name: &GuestName) -> bool {
    let has_ended = |unit: systemd::Unit| matches!(&*unit.active, "failed" | "inactive");
    !systemd::starts_guests(paths) || ended_unit(name).is_ok_and(|unit| !has_ended(unit))
}

/// Its supervisors end, whoever kills them, and say nothing.
fn not_begun(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' is not started: each of its supervisors was killed"))
        .hint(format!("they may have said why: vserver logs {name} --events"))
}

/// A unit whose supervisor has ended: systemd takes note a moment later.
fn ended_unit(name: &GuestName) -> Result<systemd::Unit> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let unit = systemd::look(name)?;
        let has_ended = matches!(&*unit.active, "failed" | "inactive");
        if has_ended || Instant::now() >= deadline {
            return Ok(unit);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Starts a guest's supervisor, unless there is one. Commands that start the
/// same guest wait for each other until it listens. Nothing is waited for once `check`
/// says no.
///
/// # Errors
/// As [`start`], and what `check` says.
pub fn launch(
    paths: &Paths,
    name: &GuestName,
    wanted: &Start,
    check: Check<'_>,
) -> Result<Option<Client>> {
    let config = config::load(paths, name)?;
    let mut patience = Patience::new(&config);
    let (_lock, found) = loop {
        let lock = turn::wait_unless(paths, name, check)?;
        config::settle(paths, name)?;
        match find(paths, name)? {
            Found::GoingDown(client) => {
                // Other commands have nothing to wait for with this one.
                drop(lock);
                patience.wait(&client, name, check)?;
            }
            found => break (lock, found),
        }
    };
    match found {
        Found::Up => {
            output::warn(format_args!("guest '{name}' is already running"));
            return Ok(None);
        }
        Found::Waiting(_) if wanted.ephemeral => {
            return Err(Error::new(format!(
                "guest '{name}' has crashed, and is about to be started as it was"
            ))
            .hint(format!("'vserver stop {name}' first")));
        }
        Found::Waiting(client) => {
            client.send(&Request::Subscribe)?;
            let at_once = Request::Stop { power: Power::Reboot, timeout_ms: None, no_kill: false };
            client.send(&at_once)?;
            return Ok(Some(client));
        }
        Found::Down | Found::GoingDown(_) => {}
    }
    // Who has waited for the lock may come when the other host starts it, or when it was
    // deleted or set aside.
    refuse_moving(paths, name)?;
    let config = config::load(paths, name)?;
    // The supervisor makes the same plan; mistakes are better said here.
    supervisor::refuse_root(paths, name, &config)?;
    let by_systemd = systemd::starts_guests(paths) && !wanted.foreground && wanted.rescue.is_none();
    let ids = ids::of_start(paths, name, config.context)?;
    let mut host = facts::resources(config.limits.devices());
    if by_systemd {
        host.is_delegated();
    }
    plan::plan(name, &config, ids.base, BootMode::Boot, paths, &host, &Trial::default())?;
    let scratch = Scratch::new(name, &config.root(paths, name));
    match wanted.ephemeral {
        true => scratch.order()?,
        // What is left of one that was lost.
        false => scratch.remove()?,
    }
    RunDir::new(paths, name).forget_end();
    let spawned = match by_systemd {
        true => systemd::tell_shares(name, &config.limits).and_then(|()| by_unit(paths, name)),
        false => spawn(name, wanted),
    };
    // A supervisor that has come removes it itself.
    if wanted.ephemeral {
        // The order counts as long as this process lives.
        let deadline = Instant::now() + ARRIVAL;
        while spawned.is_ok() && scratch.is_ordered() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if scratch.is_ordered() {
            let _ = scratch.remove();
        }
    }
    spawned.map(Some)
}

/// Refuses to boot a guest here that another host has, or is about to have.
///
/// # Errors
/// When it is such a guest.
pub(super) fn refuse_moving(paths: &Paths, name: &GuestName) -> Result<()> {
    if !Lock::is_signed(&paths.move_lock(name)) {
        return Ok(());
    }
    Err(Error::new(format!("guest '{name}' is being moved to another host"))
        .hint("wait until 'vserver move' has ended: it says where the guest runs then"))
}

/// Starts a supervisor as a process of its own.
fn spawn(name: &GuestName, wanted: &Start) -> Result<Client> {
    let mut arguments = Vec::new();
    if wanted.foreground {
        arguments.push("--foreground");
    }
    if let Some(command) = &wanted.rescue {
        arguments.push("--rescue");
        arguments.extend(command.iter().map(String::as_str));
    }
    let client = spawn_supervisor(name, &arguments)?;
    // Its first word is that it is there: from then on others find it.
    match client.next(Instant::now().checked_add(ARRIVAL))? {
        Some(Event::Failed { text, hint }) => Err(start_failed(text, hint)),
        Some(_) => Ok(client),
        None => Err(Error::new(format!("the supervisor of guest '{name}' ended at once"))),
    }
}

/// Has systemd start a guest's unit, and waits for its supervisor.
///
/// # Errors
/// Why there is none.
fn by_unit(paths: &Paths, name: &GuestName) -> Result<Client> {
    systemd::start(name)?;
    let deadline = Instant::now() + ARRIVAL;
    let mut looked = Instant::now();
    loop {
        if let Some(client) = Client::reach(paths, name)? {
            client.send(&Request::Subscribe)?;
            return Ok(client);
        }
        if looked.elapsed() > Duration::from_millis(200) {
            looked = Instant::now();
            let unit = systemd::look(name)?;
            // A job may have to wait for guests that are up first.
            let has_ended = matches!(&*unit.active, "failed" | "inactive");
            if !unit.has_job && (has_ended || Instant::now() >= deadline) {
                return Err(unit_failed(name, &unit));
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn unit_failed(name: &GuestName, unit: &systemd::Unit) -> Error {
    let text = match &*unit.status {
        // It wasn't even begun.
        "" if unit.result == "success" => {
            format!("systemd could not start something that guest '{name}' needs, such as a mount")
        }
        "" if is_killed(unit) => {
            format!("systemd could not start guest '{name}': its supervisor was killed each time")
        }
        "" => format!("systemd could not start guest '{name}': {}", unit.result),
        status => status.to_owned(),
    };
    let see = format!("see: systemctl status {}", cgroup::unit(name));
    Error::new(text).hint(match &*unit.result {
        // systemd itself has found no room for a process.
        "resources" => {
            format!("a limit of the unit or of its slice is reached, such as TasksMax=; {see}")
        }
        _ if is_killed(unit) => format!(
            "the kernel does that where memory is short: MemoryMax= of the unit or of its slice, or \
             the host's; {see}"
        ),
        _ => see,
    })
}

fn is_killed(unit: &systemd::Unit) -> bool {
    matches!(&*unit.result, "signal" | "oom-kill")
}

/// How a guest is that is to be started.
enum Found {
    /// Up, or on its way.
    Up,
    /// It has crashed, and waits to be started again.
    Waiting(Client),
    /// It shuts down.
    GoingDown(Client),
    /// Down.
    Down,
}

/// Looks at a guest that is to be started. The end of a session in the guest's bare
/// context is waited for, so that a start right after it is no matter of luck.
fn find(paths: &Paths, name: &GuestName) -> Result<Found> {
    // A supervisor hears of a session's end a moment after its user does.
    let deadline = Instant::now() + Duration::from_millis(500);
    while let Some(client) = Client::connect(paths, name)? {
        let status = match client.status() {
            // It has ended in this very moment.
            Err(error) if error.kind() == Kind::NotRunning => continue,
            other => other?,
        };
        // Also one that is being made.
        let is_context = status.shown_phase() == Phase::Session;
        match status.phase {
            phase if is_going_down(phase) => return Ok(Found::GoingDown(client)),
            _ if is_context && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ if is_context => {
                return Err(Error::new(format!(
                    "guest '{name}' has open sessions but is not booted"
                ))
                .hint(format!("end them, or: vserver stop {name}")));
            }
            Phase::BackingOff => return Ok(Found::Waiting(client)),
            _ => return Ok(Found::Up),
        }
    }
    Ok(Found::Down)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;

    use super::*;

    #[test]
    fn a_guest_that_was_deleted_while_its_start_waited_gets_no_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, web) = (Paths::new(directory.path()), "web".parse().unwrap());
        fs::create_dir_all(paths.config_dir()).unwrap();
        fs::write(paths.config(&web), "context = 40007\n").unwrap();
        let held = RefCell::new(Some(Lock::wait(&paths.lock(&web)).unwrap()));
        let deleted = || {
            if let Some(lock) = held.take() {
                fs::remove_file(paths.config(&web)).unwrap();
                lock.remove(&paths.lock(&web));
            }
            Ok(())
        };
        let error = launch(&paths, &web, &Start::default(), &deleted).unwrap_err();
        assert_eq!(error.kind(), Kind::NoSuchGuest);
        assert!(ids::lookup(&paths, &web).unwrap().is_none());
    }
}
