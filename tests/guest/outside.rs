//! `vserver stop`, `restart` and `reboot`: from the host.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{DEADLINE, Host, Tree, eventually, process};

on! { Bookworm, Trixie, Busybox, Copy: [stops, restarts, reboots_from_outside] }
on! { Busybox: [
    start_of_a_running_guest_is_a_warning,
    stop_of_a_stopped_guest_is_a_warning,
    restart_starts_a_stopped_guest,
    start_returns_at_once_with_no_wait,
    start_in_the_foreground_lasts_as_long_as_the_guest,
] }

fn stops(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let init = guest.init_pid();
    assert!(guest.is_running());
    guest.stop();
    assert!(!guest.is_running());
    assert!(!process::is_alive(init), "PID 1 has ended when stop returns");
    assert_eq!(guest.status().state, "stopped");
    if tree == Tree::Busybox {
        assert_eq!(guest.read("/var/log/shutdowns").lines().count(), 1, "its shutdown script ran");
    }
}

fn restarts(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let old = guest.init_pid();
    guest.vserver("restart", [""; 0]).ok();
    let status = guest.status();
    assert_eq!(status.state, "running", "{status:?}");
    assert_ne!(status.init_pid, Some(old), "another PID 1");
    guest.stop();
}

fn reboots_from_outside(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let old = guest.init_pid();
    guest.vserver("reboot", [""; 0]).ok();
    guest.wait_for_reboot(old);
    guest.stop();
}

fn start_of_a_running_guest_is_a_warning(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let init = guest.init_pid();
    guest.vserver("start", [""; 0]).ok().complains("already running");
    assert_eq!(guest.init_pid(), init, "it is the same guest");
}

fn stop_of_a_stopped_guest_is_a_warning(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.vserver("stop", [""; 0]).ok().complains("not running");
}

fn restart_starts_a_stopped_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.vserver("restart", [""; 0]).ok();
    assert!(guest.is_running());
}

fn start_returns_at_once_with_no_wait(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.write("/etc/init.d/rcS", "#!/bin/sh\nsleep 3\n", 0o755);
    let started = guest.vserver("start", ["--no-wait"]).ok();
    assert!(started.took.as_secs_f64() < 2.0, "it doesn't wait for the boot\n{started}");
    assert_eq!(guest.status().state, "booting");
    guest.stop();
}

fn start_in_the_foreground_lasts_as_long_as_the_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let mut start = guest.command("start", ["--foreground"]).spawn().expect("vserver runs");
    eventually(DEADLINE, "the guest runs", || (guest.status().state == "running").then_some(()));
    assert!(start.try_wait().expect("a child").is_none(), "it stays in the foreground");
    guest.kill_supervisor();
    eventually(DEADLINE, "it runs on", || (guest.status().state == "running").then_some(()));
    assert!(start.try_wait().expect("a child").is_none(), "it stays as long as the guest");
    let pid = i32::try_from(start.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it lives");
    guest.wait_until_stopped();
    let status = eventually(DEADLINE, "it has ended", || start.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
}
