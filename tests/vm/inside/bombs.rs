//! A host whose cgroups can count processes: a guest's root is bounded there
//! in all modes, also as uid 0 of the host, whom no resource limit holds.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tests::terminal::Terminal;
use tests::{Census, DEADLINE, Guest, Host, eventually, executable};

/// How many processes a guest may have (docs/SECURITY.md).
const PROCESSES: u32 = 8000;

/// How many of them are for sessions only.
const RESERVE: u32 = 32;

/// Instead of that, given to a running guest: thousands of processes take
/// minutes here.
const FEW: u32 = 300;

/// What the bomb would have: more than these, and less than what any resource
/// limit refuses.
const MANY: &str = "500";

/// The program of tests/attacker.
const ATTACKER: &str = "/payload/attacker";

/// Run by the guest's init when the fuse is lit. It keeps what it has got.
const BOMB: &str = "#!/bin/sh
while [ ! -e /run/fuse ]; do sleep 1; done
sleep 100000 | /attacker fork MANY >/var/log/bomb 2>&1
";

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn of_a_guests_root_are_bounded_in_all_modes() {
    let host = Host::new();
    let guest = armed(&host);
    for users in ["private", "identity", "host"] {
        println!("users = {users}");
        host.vserver(["config", "set", guest.name(), "security.users", users]).ok();
        let before = Census::when_quiet(&host);
        guest.start();
        lower(&host);
        guest.exec(["touch", "/run/fuse"]).ok();
        let says = eventually(DEADLINE, "the bomb has gone off", || {
            let says = guest.read("/var/log/bomb");
            says.ends_with('\n').then_some(says)
        });
        assert_stopped_at_the_limit(&host, &says);
        can_be_entered(&guest);
        guest.vserver("stop", ["--timeout", "5"]).ok();
        before.assert_unchanged(&host);
        guest.write("/var/log/bomb", "", 0o644);
    }
}

/// What an administrator's session sets off is one of the guest's. The layer
/// left out, nothing holds it.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn of_a_session_are_bounded_by_this_layer() {
    let host = Host::new();
    let guest = armed(&host);
    host.vserver(["config", "set", guest.name(), "security.users", "identity"]).ok();
    for without in ["", "processes"] {
        guest.start_without(without);
        if without.is_empty() {
            lower(&host);
        }
        let mut session = guest.command("exec", ["--", "/attacker", "fork", MANY]);
        let session = session.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut session = session.expect("vserver can be run");
        let mut says = String::new();
        let output = session.stdout.take().expect("stdout is a pipe");
        BufReader::new(output).read_line(&mut says).expect("a pipe can be read");
        if without.is_empty() {
            assert_stopped_at_the_limit(&host, &says);
        } else {
            assert!(says.starts_with(&format!("holding {MANY}: ")), "{says}");
            assert_eq!(count(&limited(&host), "pids.max"), None, "nothing bounds");
        }
        can_be_entered(&guest);
        guest.vserver("stop", ["--timeout", "5"]).ok();
        session.wait().expect("a session ends with its guest");
    }
}

/// A guest with a bomb in it.
fn armed(host: &Host) -> Guest<'_> {
    let guest = host.guest("web").build();
    executable::copy(ATTACKER, guest.root().join("attacker"));
    guest.write("/etc/init.d/once", &BOMB.replace("MANY", MANY), 0o755);
    guest
}

/// Gives a running guest few processes in place of the documented number.
#[track_caller]
fn lower(host: &Host) {
    let limited = limited(host);
    for (cgroup, less) in [(limited.join("inside"), RESERVE), (limited, 0)] {
        assert_eq!(count(&cgroup, "pids.max"), Some(PROCESSES - less));
        fs::write(cgroup.join("pids.max"), (FEW - less).to_string()).expect("it can be lowered");
    }
}

/// By a refused fork, at the kernel's own count.
#[track_caller]
fn assert_stopped_at_the_limit(host: &Host, says: &str) {
    assert!(says.starts_with("holding 2") && says.contains("(os error 11)"), "{says}");
    let limited = limited(host).join("inside");
    let most = FEW - RESERVE;
    // A script that waits has a process now and none then.
    let current = count(&limited, "pids.current");
    assert!(current.is_some_and(|current| (most - 4..=most).contains(&current)), "{current:?}");
    let events = fs::read_to_string(limited.join("pids.events")).expect("the kernel counts");
    let refused = events.trim().strip_prefix("max ").and_then(|count| count.parse::<u32>().ok());
    assert!(refused.is_some_and(|refused| refused > 0), "{events}");
}

/// And more than one process has room.
#[track_caller]
fn can_be_entered(guest: &Guest<'_>) {
    guest.exec(["cat", "/proc/1/comm"]).ok().says("guest-init\n");
    guest.shell("for word in a b c; do /bin/echo $word; done; exit 0").ok().says("a\nb\nc\n");
    let mut terminal = Terminal::open(&guest.command("enter", [""; 0]));
    terminal.type_in("/bin/echo in''side $(cat /proc/1/comm); exit 7\n");
    terminal.expect("inside guest-init");
    assert_eq!(terminal.end(), 7, "{}", terminal.seen());
}

/// The cgroup with the guest's limits.
#[track_caller]
fn limited(host: &Host) -> PathBuf {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let all = host.cgroups();
    let found = all.iter().find(|path| name(path).is_some_and(|name| name.starts_with("guest-")));
    found.unwrap_or_else(|| panic!("a running guest has a cgroup: {all:?}")).clone()
}

/// The number in a file of a cgroup; `None` for "max".
#[track_caller]
fn count(cgroup: &Path, file: &str) -> Option<u32> {
    let text = fs::read_to_string(cgroup.join(file))
        .unwrap_or_else(|cause| panic!("the kernel doesn't count in {cgroup:?}: {cause}"));
    text.trim().parse().ok()
}
