//! A guest whose PID 1 dies without having asked for it.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{DEADLINE, Guest, Host, Tree, eventually};

use super::stubborn::upgrade;

on! { Busybox: [
    a_crashed_guest_is_started_again,
    a_crashed_guest_stays_down_when_told_so,
    crash_after_crash_takes_longer_and_longer,
    a_guest_that_backs_off_can_be_stopped,
    a_start_does_not_wait_for_a_guest_that_crashes,
    a_supervisor_that_dies_between_two_boots_costs_no_guest_its_next,
] }

fn crash(guest: &Guest<'_>) -> i32 {
    let init = guest.init_pid();
    kill(Pid::from_raw(init), Signal::SIGKILL).expect("PID 1 can be killed from the host");
    init
}

fn a_crashed_guest_is_started_again(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let old = crash(&guest);
    guest.wait_for_reboot(old);
    guest.stop();
}

fn a_crashed_guest_stays_down_when_told_so(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("boot.restart", "never").build();
    let before = tests::Census::after_a_boot(&guest);
    guest.start();
    crash(&guest);
    eventually(DEADLINE, "the guest is down", || (!guest.is_running()).then_some(()));
    before.assert_unchanged(&host);
}

fn crash_after_crash_takes_longer_and_longer(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let pauses: Vec<Duration> = (0..3)
        .map(|_| {
            let start = Instant::now();
            let old = crash(&guest);
            guest.wait_for_reboot(old);
            start.elapsed()
        })
        .collect();
    let least = [1, 2, 4].map(Duration::from_secs);
    let are_long = pauses.iter().zip(least).all(|(pause, least)| *pause >= least);
    assert!(are_long, "pauses double: {pauses:?}");
    guest.stop();
}

fn a_guest_that_backs_off_can_be_stopped(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = tests::Census::after_a_boot(&guest);
    guest.start();
    for _ in 0..2 {
        let old = crash(&guest);
        guest.wait_for_reboot(old);
    }
    crash(&guest);
    guest.vserver("stop", [""; 0]).ok();
    assert!(!guest.is_running());
    before.assert_unchanged(&host);
}

fn a_start_does_not_wait_for_a_guest_that_crashes(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.write("/etc/inittab", "::sysinit:/bin/sleep 60\n", 0o644);
    guest.vserver("start", ["--no-wait"]).ok();
    guest.wait_for_process("sleep");
    let new = |old: i32| {
        eventually(DEADLINE, "it boots again", || guest.status().init_pid.filter(|pid| *pid != old))
    };
    // Pauses double: the next one is long enough for a start to come into it
    // on any machine.
    for _ in 0..3 {
        new(crash(&guest));
    }
    std::thread::scope(|scope| {
        let old = crash(&guest);
        eventually(DEADLINE, "it backs off", || {
            (guest.status().state == "backing-off").then_some(())
        });
        // The start launches it at once, and it crashes.
        let start = scope.spawn(|| guest.vserver("start", [""; 0]));
        new(old);
        crash(&guest);
        start.join().expect("the start ends").code(1).complains("crashed before it was up");
    });
    guest.vserver("stop", [""; 0]).ok();
}

/// Where nobody starts another supervisor, the next command does.
fn a_supervisor_that_dies_between_two_boots_costs_no_guest_its_next(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = tests::Census::after_a_boot(&guest);
    guest.start();
    // Pauses double.
    for _ in 0..3 {
        let old = crash(&guest);
        guest.wait_for_reboot(old);
    }
    let backs_off = || {
        eventually(DEADLINE, "it backs off", || {
            (guest.status().state == "backing-off").then_some(())
        });
    };
    let old = crash(&guest);
    backs_off();
    upgrade(&guest);
    assert_eq!(guest.status().state, "backing-off");
    let killed = guest.kill_supervisor();
    let status = guest.status();
    assert_eq!(status.state, "backing-off", "{status:?}");
    assert_ne!(status.supervisor_pid, Some(killed));
    let status = guest.wait_for_reboot(old);
    assert_ne!(status.supervisor_pid, Some(killed));
    // Nor is it booted when somebody has stopped it.
    crash(&guest);
    backs_off();
    guest.kill_supervisor();
    guest.vserver("stop", [""; 0]).ok();
    assert!(!guest.is_running());
    before.assert_unchanged(&host);
}
