//! Supervisors killed at random moments of a guest's life: the guest is never
//! lost, nothing is doubled, and other guests notice nothing.

use std::env;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Census, DEADLINE, Host, Tree, eventually, random};

on! { Busybox: [a_supervisor_killed_at_any_moment_loses_no_guest] }

/// How many are killed: `$VSERVER_TEST_KILLS`, as tests/soak sets it, or so
/// many as fit into a test run.
fn kills() -> u32 {
    env::var("VSERVER_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// What goes on while the supervisor dies, and whether it leaves the boot as it
/// is.
const DEEDS: &[(&[&str], bool)] = &[
    (&["exec", "web", "--", "true"], true),
    (&["status", "web"], true),
    (&["pause", "web"], true),
    (&["limits", "web"], true),
    (&["start", "web"], false),
    (&["stop", "web"], false),
    (&["stop", "web", "--timeout", "0"], false),
    (&["restart", "web"], false),
    (&["reboot", "web", "--no-wait"], false),
    (&["exec", "web", "--", "reboot"], false),
    (&["exec", "web", "--", "poweroff"], false),
];

fn a_supervisor_killed_at_any_moment_loses_no_guest(tree: Tree) {
    let mut random = random();
    let host = Host::new();
    let [web, db] = ["web", "db"].map(|name| host.guest(name).tree(tree).build());
    db.start();
    let neighbour = db.status();
    web.start().stop();
    eventually(DEADLINE, "its supervisor has gone", || supervisors(&host).is_empty().then_some(()));
    let before = Census::take(&host);
    web.start();
    for round in 1..=kills() {
        let (words, keeps) = *random.choice(DEEDS).expect("there are some");
        let pause = pause(&mut random);
        println!("round {round}: {pause:?} after {words:?}");
        let init = web.init_pid();
        let mut command = host.command(words);
        let doing = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut doing = doing.spawn().expect("it can be run");
        thread::sleep(pause);
        for pid in supervisors(&host) {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let end = eventually(DEADLINE, "the command ends", || doing.try_wait().ok().flatten());
        // What is executed inside may be ended with everything else there.
        let ended = |code| words[0] == "exec" && [143, 137].contains(&code);
        let is_clean = end.code().is_some_and(|code| code < 100 || ended(code));
        assert!(is_clean, "{words:?}: {end}");
        // Whatever it was, the guest can be had again.
        web.vserver("resume", [""; 0]);
        web.vserver("start", [""; 0]).ok();
        let status = eventually(DEADLINE, "it is up", || {
            let status = web.status();
            (status.state == "running").then_some(status)
        });
        if keeps {
            assert_eq!(status.init_pid, Some(init), "the boot goes on");
        }
        eventually(DEADLINE, "its console goes on", || {
            web.log().trim_end().ends_with("once: ran").then_some(())
        });
        eventually(DEADLINE, "one supervisor is left", || {
            (supervisors(&host).len() == 1).then_some(())
        });
        let other = db.status();
        assert_eq!(other.supervisor_pid, neighbour.supervisor_pid);
        assert_eq!(other.init_pid, neighbour.init_pid);
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

/// Pids of the processes that are a supervisor of the guest `web`.
fn supervisors(host: &Host) -> Vec<i32> {
    let is_own = |arguments: &[String]| {
        let words: Vec<_> = arguments.iter().map(String::as_str).collect();
        matches!(words.as_slice(), ["vserver", "supervise", "web", ..])
    };
    let all = host.processes().into_iter();
    all.filter(|process| is_own(&process.arguments)).map(|process| process.pid).collect()
}
