//! Start and stop in quick succession, many times: nothing is left, and
//! nothing grows.

use std::env;
use std::thread;
use std::time::Duration;

use tests::{Census, DEADLINE, Host, Tree, eventually, process};

on! { Bookworm, Trixie, Busybox, Copy: [many_rounds_of_start_and_stop_leave_nothing] }
on! { Busybox, Bookworm: [reboots_leave_no_descriptor_behind] }

/// Rounds of one test: `$VSERVER_TEST_ROUNDS`, as tests/soak sets it, or so
/// many that all fit into a test run.
fn rounds(tree: Tree) -> u32 {
    let asked = env::var("VSERVER_TEST_ROUNDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if tree == Tree::Bookworm { 100 } else { 10 })
}

fn many_rounds_of_start_and_stop_leave_nothing(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    for round in 1..=rounds(tree) {
        guest.vserver("start", ["--no-wait"]).ok();
        // 0 ms later: the order must not get lost on a half-started guest.
        guest.vserver("stop", ["--no-kill"]).ok();
        assert!(!guest.is_running(), "round {round}");
    }
    before.assert_unchanged(&host);
    guest.start().stop();
    before.assert_unchanged(&host);
}

fn reboots_leave_no_descriptor_behind(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let reboot = || {
        let old = guest.init_pid();
        guest.exec(["reboot"]);
        guest.wait_for_reboot(old)
    };
    let count = |status: &tests::guest::Status| {
        let pids = [status.supervisor_pid, status.keeper_pid, status.init_pid];
        let pids = pids.map(|pid| pid.expect("a running guest has all three"));
        // A command that has just asked may still be connected: the least of
        // several looks counts.
        let mut least = pids.map(process::descriptors);
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(20));
            for (least, pid) in least.iter_mut().zip(pids) {
                *least = (*least).min(process::descriptors(pid));
            }
        }
        least
    };
    let before = count(&reboot());
    // More would be taken for a loop, and be slowed down.
    for _ in 0..3 {
        reboot();
    }
    let status = reboot();
    // Each reboot would leave one; whoever has asked may still be connected.
    eventually(DEADLINE, "supervisor, keeper and guest-init have no more descriptors", || {
        let now = count(&status);
        println!("{now:?} of {before:?}");
        now.iter().zip(before).all(|(now, before)| *now <= before).then_some(())
    });
    guest.stop();
}
