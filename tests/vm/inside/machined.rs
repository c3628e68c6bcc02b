//! Guests as machines of systemd-machined: what is not in the table of
//! [`tests::verbs`].

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::{DEADLINE, Finished, Tree, eventually, process};

use crate::units::{Guest, Machine, read, run, systemctl, vserver};

/// A shutdown and a boot of sysvinit's scripts, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(400);

fn with_address(guest: Guest, address: &str) -> Guest {
    vserver(&["config", "set", guest.name(), "network.addresses", address]).ok();
    guest
}

/// What needs systemd, and D-Bus, in the guest; and what the table has no room for.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guests_systemd_is_reached_from_the_host() {
    let machine = Machine::new();
    let systemd = machine.guest("systemd", Tree::Systemd);
    // It has no network of its own.
    let busybox = machine.guest("busybox", Tree::Busybox);
    start([&systemd, &busybox]);
    run("getent", &["ahosts", "busybox"]).code(2);
    // Its unit is active when the guest's own systemd has said so, and not before.
    systemctl(&["-M", "systemd", "is-system-running"]).ok().says("running\n");
    has_login(&systemd);
    has_session(&systemd);
    let words = ["-M", "systemd", "--wait", "-q", "--pipe", "/bin/false"];
    run("systemd-run", &words).code(1);
    says(&run("journalctl", &["-M", "systemd", "-q", "--no-pager"]).ok(), "systemd[1]: ");
}

/// Two of the verbs: all of them take long enough for the long run.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn sysvinit_goes_down_by_its_own_scripts() {
    let machine = Machine::new();
    let guests = [with_address(machine.guest("sysvinit", Tree::Bookworm), "10.77.0.2")];
    start(&guests);
    reboot(&guests);
    stop(&guests, "poweroff");
    let log = vserver(&["logs", "sysvinit"]).ok();
    for level in ["6", "0"] {
        says(&log, &format!("boot in runlevel {level}."));
    }
}

fn start<'g>(guests: impl IntoIterator<Item = &'g Guest>) {
    let guests: Vec<_> = guests.into_iter().collect();
    let units = guests.iter().map(|guest| guest.unit());
    let words: Vec<_> = ["start".to_owned()].into_iter().chain(units).collect();
    systemctl(&words.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    guests.into_iter().for_each(is_registered);
}

/// The guest's logind has a session for a shell, and is steered from outside.
fn has_session(guest: &Guest) {
    let loginctl = |words: &[&str]| run("loginctl", &[&["-M", guest.name()], words].concat()).ok();
    let command = format!("machinectl -q shell {} /bin/sleep 600", guest.name());
    let mut shell = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it can be run");
    let find = || {
        let listed = loginctl(&["list-sessions", "--no-legend"]);
        let lines = listed.stdout.lines().map(|line| line.split_ascii_whitespace());
        // Its number, the user's, and the user's name.
        let lines: Vec<Vec<&str>> = lines.map(Iterator::collect).collect();
        let session = lines.iter().find(|words| words.get(1..3) == Some(&["0", "root"]))?;
        Some(session[0].to_owned())
    };
    let session = eventually(DEADLINE, "the session is listed", find);
    // Until then the shell isn't in it.
    eventually(DEADLINE, "the session is open", || {
        let state = loginctl(&["show-session", "--value", "-p", "State", &session]);
        (state.trimmed() != "opening").then_some(())
    });
    loginctl(&["terminate-session", &session]);
    eventually(DEADLINE, "the shell has ended", || shell.try_wait().ok().flatten());
    eventually(DEADLINE, "the session is gone", || {
        (find().as_ref() != Some(&session)).then_some(())
    });
}

/// A getty on a terminal of its own asks for a name. Three times ^] leaves it.
fn has_login(guest: &Guest) {
    let command = format!("machinectl login {}", guest.name());
    let mut script = Command::new("timeout")
        .args(["60", "script", "-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let mut screen = script.stdout.take().expect("it is a pipe");
    let (mut shown, mut bytes) = (String::new(), [0; 256]);
    while !shown.contains("systemd login:") {
        let length = screen.read(&mut bytes).expect("it can be read");
        assert!(length > 0, "{shown:?}");
        shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    let keys = script.stdin.as_mut().expect("it is a pipe");
    keys.write_all(b"\x1d\x1d\x1d").expect("it takes keys");
    screen.read_to_end(&mut Vec::new()).expect("it can be read");
    script.wait().expect("it has ended");
}

/// Another boot of the same unit, and the same machine.
fn reboot(guests: &[Guest]) {
    let ids: Vec<_> = guests.iter().map(|guest| show(guest, "Id")).collect();
    let before: Vec<_> = guests.iter().map(|guest| guest.pid("init_pid")).collect();
    for guest in guests {
        machinectl(&["reboot", guest.name()]).ok();
    }
    for ((guest, before), id) in guests.iter().zip(before).zip(&ids) {
        eventually(PATIENCE, "it is up again", || {
            let status = guest.status();
            (status["init_pid"] != before && status["state"] == "running").then_some(())
        });
        assert_eq!(guest.status()["last_end"], "reboot");
        assert_eq!(guest.show("NRestarts"), "0");
        is_registered(guest);
        assert_eq!(&show(guest, "Id"), id);
    }
}

/// The guest's own shutdown, and the unit's end.
fn stop<'g>(guests: impl IntoIterator<Item = &'g Guest, IntoIter: Clone>, verb: &str) {
    let guests = guests.into_iter();
    for guest in guests.clone() {
        machinectl(&[verb, guest.name()]).ok();
    }
    for guest in guests {
        eventually(PATIENCE, "the unit has ended", || {
            (guest.show("ActiveState") == "inactive").then_some(())
        });
        assert_eq!(guest.show("Result"), "success", "{} {verb}", guest.name());
        is_gone(guest);
    }
}

/// What ends without a shutdown is a crash, as always.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_killed_leader_is_a_crash() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    systemctl(&["start", &web.unit()]).ok();
    is_registered(&web);
    let before = web.pid("init_pid");
    machinectl(&["kill", "--kill-whom=leader", "--signal=KILL", "web"]).ok();
    eventually(DEADLINE, "it is up again", || {
        let status = web.status();
        (status["init_pid"] != before && status["state"] == "running").then_some(())
    });
    is_registered(&web);
    assert_eq!(web.status()["last_end"], "died: signal 9");
    // A stop while it boots, too.
    vserver(&["stop", "web"]).ok();
    is_gone(&web);
    systemctl(&["start", "--no-block", &web.unit()]).ok();
    eventually(DEADLINE, "it is registered", || {
        machinectl(&["poweroff", "web"]).code.eq(&0).then_some(())
    });
    web.ends();
    assert_eq!(web.show("Result"), "success");
    is_gone(&web);
}

/// What a unit loses with its supervisor is what `Restart=` is for. Where systemd
/// can't start a process in a cgroup that has controllers, it does if those are gone
/// already.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn all_of_a_unit_that_is_killed_is_gone_or_starts_again() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    systemctl(&["start", &web.unit()]).ok();
    is_registered(&web);
    let before = ["init_pid", "keeper_pid", "supervisor_pid"].map(|who| web.pid(who));
    machinectl(&["kill", "--signal=KILL", "web"]).ok();
    eventually(DEADLINE, "all that it had is gone", || {
        before.iter().all(|pid| !process::is_alive(*pid)).then_some(())
    });
    let is_up_again = || {
        let status = web.status();
        status["init_pid"] != before[0] && status["state"] == "running"
    };
    let version = run("systemctl", &["--version"]).ok();
    let number: Option<u32> =
        version.stdout.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok());
    if number.unwrap_or_else(|| panic!("{version}")) < 254 {
        let has_ended = eventually(DEADLINE, "the unit has ended, or is up again", || {
            let has_ended = web.show("ActiveState") == "inactive";
            (has_ended || is_up_again()).then_some(has_ended)
        });
        if has_ended {
            is_gone(&web);
            systemctl(&["start", &web.unit()]).ok();
        }
    }
    eventually(DEADLINE, "it is up again", || is_up_again().then_some(()));
    is_registered(&web);
    vserver(&["stop", "web"]).ok();
    is_gone(&web);
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn nothing_waits_for_machined_and_it_learns_all_of_it() {
    let machine = Machine::new();
    let calm = machine.guest("calm", Tree::Busybox);
    systemctl(&["start", &calm.unit()]).ok();
    is_registered(&calm);

    // It has kept what it knew.
    systemctl(&["restart", "systemd-machined"]).ok();
    is_registered(&calm);
    run("kill", &["-9", &systemctl_show("systemd-machined", "MainPID")]).ok();
    is_registered(&calm);
    // So it has when D-Bus was gone, and with it all that has a connection there.
    run("kill", &["-9", &systemctl_show("dbus", "MainPID")]).ok();
    is_registered(&calm);
    vserver(&["exec", "calm", "--", "reboot"]).ok();
    vserver(&["wait", "calm", "--for", "running"]).ok();
    is_registered(&calm);
    // The next supervisor looks for itself.
    machinectl_forget("calm");
    run("kill", &["-9", &calm.show("MainPID")]).ok();
    is_registered(&calm);

    // Hung: everything goes on without it, and what it learns in the end is how
    // things are then.
    let pid = systemctl_show("systemd-machined", "MainPID");
    run("kill", &["-STOP", &pid]).ok();
    let begun = Instant::now();
    vserver(&["restart", "calm"]).ok();
    vserver(&["exec", "calm", "--", "reboot"]).ok();
    vserver(&["wait", "calm", "--for", "running"]).ok();
    let taken = begun.elapsed();
    assert!(taken < DEADLINE, "{taken:?}");
    // One helper at a time, and none is left when the guest is down.
    let helpers = || {
        let supervisors =
            "/sys/fs/cgroup/vserver.slice/vserver@calm.service/supervisor/cgroup.procs";
        let command = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cmdline"));
        let all: Vec<_> = read(supervisors).lines().flat_map(command).collect();
        all.iter().filter(|line| line.contains("--machined")).count()
    };
    assert!(helpers() <= 1);
    run("kill", &["-CONT", &pid]).ok();
    is_registered(&calm);
    run("kill", &["-STOP", &pid]).ok();
    vserver(&["restart", "calm"]).ok();
    systemctl(&["stop", &calm.unit()]).ok();
    let cgroup = Path::new("/sys/fs/cgroup/vserver.slice/vserver@calm.service");
    eventually(DEADLINE, "systemd has removed the cgroup", || (!cgroup.exists()).then_some(()));
    run("kill", &["-CONT", &pid]).ok();
    is_gone(&calm);

    // None at all: no word about it.
    systemctl(&["mask", "--runtime", "--now", "systemd-machined"]).ok();
    vserver(&["start", "calm"]).ok();
    vserver(&["stop", "calm"]).ok();
    systemctl(&["unmask", "--runtime", "systemd-machined"]).ok();
    let journal = run("journalctl", &["-b", "-q", "--no-pager", "-u", &calm.unit()]).ok();
    assert!(!journal.stdout.contains("machined"), "{journal}");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn another_services_machine_is_left_alone() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let odd = machine.guest("web_1", Tree::Busybox);
    let leader = run("systemctl", &["show", "-P", "MainPID", "dbus"]).ok().trimmed().to_owned();
    let id = ["16"].into_iter().chain(["7"; 16]);
    let words = ["call", MACHINED, "/org/freedesktop/machine1", MANAGER, "RegisterMachine"]
        .into_iter()
        .chain(["sayssus", "web"])
        .chain(id)
        .chain(["other", "container", &leader, "/"]);
    run("busctl", &words.collect::<Vec<_>>()).ok();
    systemctl(&["start", &web.unit(), &odd.unit()]).ok();
    eventually(DEADLINE, "it is said", || {
        let journal = run("journalctl", &["-b", "-q", "--no-pager", "-u", &web.unit()]).ok();
        journal.stdout.contains("another one is called 'web'").then_some(())
    });
    assert_eq!(show(&web, "Service"), "other");
    systemctl(&["stop", &web.unit()]).ok();
    assert_eq!(show(&web, "Service"), "other");
    machinectl_forget("web");
    // What isn't a host's name is no machine's.
    machinectl(&["show", "web_1"]).code(1);
}

const MACHINED: &str = "org.freedesktop.machine1";
const MANAGER: &str = "org.freedesktop.machine1.Manager";

#[track_caller]
fn machinectl(words: &[&str]) -> Finished {
    run("machinectl", words)
}

#[track_caller]
fn says(finished: &Finished, expected: &str) {
    assert!(finished.stdout.contains(expected), "{expected:?} is missing: {finished}");
}

#[track_caller]
fn show(guest: &Guest, property: &str) -> String {
    machinectl(&["show", "--value", "-p", property, guest.name()]).ok().trimmed().to_owned()
}

#[track_caller]
fn systemctl_show(unit: &str, property: &str) -> String {
    systemctl(&["show", "-P", property, unit]).ok().trimmed().to_owned()
}

fn machinectl_forget(name: &str) {
    let manager = "/org/freedesktop/machine1";
    run("busctl", &["call", MACHINED, manager, MANAGER, "UnregisterMachine", "s", name]).ok();
}

/// machined knows this boot of it.
#[track_caller]
pub fn is_registered(guest: &Guest) {
    eventually(DEADLINE, "machined knows the guest", || {
        let shown = machinectl(&["show", "-p", "Leader", "-p", "Unit", guest.name()]);
        let leader = format!("Leader={}\n", guest.pid("init_pid"));
        let unit = format!("Unit={}\n", guest.unit());
        (shown.stdout.contains(&leader) && shown.stdout.contains(&unit)).then_some(())
    });
}

#[track_caller]
pub fn is_gone(guest: &Guest) {
    eventually(DEADLINE, "machined has forgotten the guest", || {
        (machinectl(&["show", guest.name()]).code == 1).then_some(())
    });
}
