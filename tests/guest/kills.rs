//! Supervisors, keepers or both killed at random moments of a guest's life: the
//! guest is never lost, nothing is doubled, and other guests notice nothing.

use std::env;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Census, DEADLINE, Host, Tree, eventually, process, random};

on! { Busybox: [
    a_supervisor_killed_at_any_moment_loses_no_guest,
    a_keeper_killed_at_any_moment_loses_no_guest,
    both_killed_at_any_moment_lose_no_guest,
] }

/// How many supervisors are killed in a test run: [`ALONE`] and [`TOGETHER`].
const SUPERVISORS: u32 = ALONE + TOGETHER;

/// Supervisors that are killed alone.
const ALONE: u32 = 50;

/// Keepers that are.
const KEEPERS: u32 = 20;

/// Supervisors that are killed with their keepers.
const TOGETHER: u32 = 10;

/// How many of them one test has: `usual`, or as large a share, if
/// `$VSERVER_TEST_KILLS`, as tests/soak sets it, are all supervisors.
fn kills(usual: u32) -> u32 {
    let asked = env::var("VSERVER_TEST_KILLS").ok().and_then(|text| text.parse::<u32>().ok());
    (asked.unwrap_or(SUPERVISORS) * usual).div_ceil(SUPERVISORS)
}

/// What is killed in a round: processes of the guest `web` for which this is so
/// by their arguments.
#[derive(Clone, Copy)]
struct Victims {
    supervisors: bool,
    keepers: bool,
}

impl Victims {
    fn has(self, arguments: &[&str]) -> bool {
        is_supervisor(arguments) && self.supervisors || is_keeper(arguments) && self.keepers
    }

    /// Is this one of those that are counted?
    fn counts(self, arguments: &[&str]) -> bool {
        if self.supervisors { is_supervisor(arguments) } else { is_keeper(arguments) }
    }

    /// Is nobody left who has the console?
    fn are_all(self) -> bool {
        self.supervisors && self.keepers
    }
}

/// What goes on while the supervisor dies, and whether it leaves the boot as it
/// is.
const DEEDS: &[(&[&str], bool)] = &[
    (&["exec", "web", "--", "true"], true),
    (&["status", "web"], true),
    (&["pause", "web"], true),
    (&["limits", "web"], true),
    (&["reload", "web"], true),
    (&["reexec", "web"], true),
    (&["start", "web"], false),
    (&["stop", "web"], false),
    (&["stop", "web", "--timeout", "0"], false),
    (&["restart", "web"], false),
    (&["reboot", "web", "--no-wait"], false),
    (&["exec", "web", "--", "reboot"], false),
    (&["exec", "web", "--", "poweroff"], false),
];

fn a_supervisor_killed_at_any_moment_loses_no_guest(tree: Tree) {
    kill_at_any_moment(tree, Victims { supervisors: true, keepers: false }, kills(ALONE));
}

fn a_keeper_killed_at_any_moment_loses_no_guest(tree: Tree) {
    kill_at_any_moment(tree, Victims { supervisors: false, keepers: true }, kills(KEEPERS));
}

fn both_killed_at_any_moment_lose_no_guest(tree: Tree) {
    kill_at_any_moment(tree, Victims { supervisors: true, keepers: true }, kills(TOGETHER));
}

fn kill_at_any_moment(tree: Tree, victims: Victims, kills: u32) {
    let mut random = random();
    let host = Host::new();
    let [web, db] = ["web", "db"].map(|name| host.guest(name).tree(tree).build());
    db.start();
    let neighbour = db.status();
    web.start().stop();
    eventually(DEADLINE, "its supervisor has gone", || {
        of(&host, is_supervisor).is_empty().then_some(())
    });
    let before = Census::take(&host);
    web.start();
    let (mut killed, mut was_kept) = (0, true);
    // The boot that has lost its first console.
    let mut deaf = None;
    for round in 1.. {
        let (words, keeps) = *random.choice(DEEDS).expect("there are some");
        let pause = pause(&mut random);
        println!("round {round}: {pause:?} after {words:?}");
        // None where the deed before has an end that nobody has seen, and a pause follows.
        let init = web.status().init_pid;
        let mut command = host.command(words);
        let doing = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut doing = doing.spawn().expect("it can be run");
        thread::sleep(pause);
        let pids = of(&host, |arguments| victims.has(arguments));
        let counted = of(&host, |arguments| victims.counts(arguments));
        // What a supervisor has forked to launch the guest is called as it is, and
        // is to be the keeper.
        let launcher =
            pids.iter().flat_map(|pid| process::children(*pid)).find(|pid| pids.contains(pid));
        for pid in pids {
            // It may have ended by itself.
            let is_killed = kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
            let counts = counted.contains(&pid) && launcher != Some(pid);
            killed += u32::from(is_killed && counts);
        }
        let end = eventually(DEADLINE, "the command ends", || doing.try_wait().ok().flatten());
        // What is executed inside may be ended with everything else there, or find
        // nobody, where the guest goes down by the deed before.
        let ended =
            |code| words[0] == "exec" && ([143, 137].contains(&code) || code == 125 && !was_kept);
        let is_clean = end.code().is_some_and(|code| code < 100 || ended(code));
        assert!(is_clean, "{words:?}: {end}");
        // What the guest's supervisor is asked for the next one does.
        if keeps && was_kept && words[0] != "exec" {
            assert_eq!(end.code(), Some(0), "{words:?}");
        }
        // Whatever it was, the guest can be had again.
        web.vserver("resume", [""; 0]);
        web.vserver("start", [""; 0]).ok();
        let status = eventually(DEADLINE, "it is up", || {
            let status = web.status();
            (status.state == "running").then_some(status)
        });
        // The deed before may be done only now.
        if keeps && was_kept {
            assert_eq!(status.init_pid, init, "the boot goes on");
        }
        if launcher.is_some() {
            deaf = status.init_pid;
        }
        if !victims.are_all() && status.init_pid != deaf {
            eventually(DEADLINE, "its console goes on", || {
                web.log().trim_end().ends_with("once: ran").then_some(())
            });
        }
        eventually(DEADLINE, "one supervisor and one keeper are left", || {
            let left = [of(&host, is_supervisor).len(), of(&host, is_keeper).len()];
            (left == [1, 1]).then_some(())
        });
        let other = db.status();
        assert_eq!(other.supervisor_pid, neighbour.supervisor_pid);
        assert_eq!(other.init_pid, neighbour.init_pid);
        was_kept = keeps;
        if killed >= kills {
            break;
        }
    }
    web.stop();
    before.assert_unchanged(&host);
    db.stop();
}

/// Most of what a supervisor does takes a few milliseconds.
fn pause(random: &mut Rng) -> Duration {
    let longest = random.choice([5, 50, 500]).expect("there are some");
    Duration::from_millis(random.u64(0..longest))
}

/// A supervisor of the guest `web`.
fn is_supervisor(arguments: &[&str]) -> bool {
    matches!(arguments, ["vserver", "supervise", "web", ..])
}

/// A keeper of that guest.
fn is_keeper(arguments: &[&str]) -> bool {
    matches!(arguments, ["keeper", _, log, ..] if log.starts_with("web."))
}

/// Pids of the host's processes with such arguments.
fn of(host: &Host, is_meant: impl Fn(&[&str]) -> bool) -> Vec<i32> {
    let is_meant =
        |arguments: &[String]| is_meant(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let all = host.processes().into_iter();
    all.filter(|process| is_meant(&process.arguments)).map(|process| process.pid).collect()
}
