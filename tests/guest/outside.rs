//! `vserver stop`, `restart` and `reboot`: from the host. A start in the foreground.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::terminal::Terminal;
use tests::{DEADLINE, Host, Tree, eventually, process};

use crate::console;

on! { Bookworm, Trixie, Busybox, Copy: [stops, restarts, reboots_from_outside] }
on! { Busybox: [
    start_of_a_running_guest_is_a_warning,
    stop_of_a_stopped_guest_is_a_warning,
    restart_starts_a_stopped_guest,
    start_returns_at_once_with_no_wait,
    start_in_the_foreground_lasts_as_long_as_the_guest,
    start_in_the_foreground_hears_signals_while_nobody_reads,
    start_in_the_foreground_goes_on_when_it_did_not_keep_up,
    start_in_the_foreground_hears_no_signal_that_is_ignored,
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

fn start_in_the_foreground_hears_signals_while_nobody_reads(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let mut start = guest.command("start", ["--foreground"]);
    let mut start = start.stdout(Stdio::piped()).spawn().expect("vserver runs");
    eventually(DEADLINE, "the guest runs", || (guest.status().state == "running").then_some(()));
    // More than a pipe holds, less than its keeper lets go of somebody for.
    guest.shell("yes 'a line' | head -c 100000 >/dev/console").ok();
    let pid = i32::try_from(start.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it lives");
    guest.wait_until_stopped();
    let within = Duration::from_secs(30);
    let status = eventually(within, "it has ended", || start.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
}

fn start_in_the_foreground_goes_on_when_it_did_not_keep_up(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let start = guest.command("start", ["--foreground"]);
    let (mut terminal, pid) = Terminal::open_known(&start);
    terminal.expect("rcS: boot scripts run");
    eventually(DEADLINE, "the guest runs", || (guest.status().state == "running").then_some(()));
    console::falls_behind(&guest, &mut terminal, pid);
    kill(pid, Signal::SIGTERM).expect("it lives");
    terminal.expect("rcK: shutdown scripts run");
    assert_eq!(terminal.end(), 0);
    guest.wait_until_stopped();
}

/// As nohup(1) and a shell's jobs in the background have some.
fn start_in_the_foreground_hears_no_signal_that_is_ignored(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let start = guest.command("start", ["--foreground"]);
    let mut nohup = Command::new("nohup");
    nohup.arg(start.get_program()).args(start.get_args());
    nohup.envs(start.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let mut start = nohup.stdout(Stdio::null()).spawn().expect("nohup(1) can be run");
    let pid = Pid::from_raw(i32::try_from(start.id()).expect("a pid"));
    eventually(DEADLINE, "the guest runs", || (guest.status().state == "running").then_some(()));
    kill(pid, Signal::SIGHUP).expect("it lives");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(guest.status().state, "running");
    assert!(start.try_wait().expect("a child").is_none(), "it stays");
    kill(pid, Signal::SIGTERM).expect("it lives");
    guest.wait_until_stopped();
    let status = eventually(DEADLINE, "it has ended", || start.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
}
