//! `vserver console` and `vserver logs`: what the guest writes to
//! /dev/console, during the boot and after it has ended.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::terminal::Terminal;
use tests::{DEADLINE, Guest, Host, Tree, eventually, process};

on! { Busybox: [
    logs_show_what_the_boot_wrote,
    logs_of_boots_are_told_apart,
    console_shows_the_past_and_what_comes,
    who_does_not_keep_up_goes_on,
    a_job_in_the_background_only_listens,
    a_flood_on_the_console_blocks_nobody,
] }

fn logs_show_what_the_boot_wrote(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    eventually(DEADLINE, "the boot's output is in the log", || {
        guest.vserver("logs", [""; 0]).ok().stdout.contains("rcS: boot scripts run").then_some(())
    });
    guest.stop();
    let logs = guest.vserver("logs", [""; 0]).ok();
    assert!(logs.stdout.contains("rcK: shutdown scripts run"), "{logs}");
}

fn logs_of_boots_are_told_apart(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    guest.shell("echo one''st life >/dev/console").ok();
    let old = guest.init_pid();
    guest.vserver("reboot", [""; 0]).ok();
    assert_ne!(guest.init_pid(), old);
    guest.shell("echo two''nd life >/dev/console").ok();
    let now = eventually(DEADLINE, "this boot has written", || {
        let now = guest.vserver("logs", ["-b"]).ok().stdout;
        now.contains("twond life").then_some(now)
    });
    assert!(now.contains("rcS: boot scripts run") && !now.contains("onest life"), "{now}");
    guest.stop();
    let before = guest.vserver("logs", ["-b", "1"]).ok();
    assert!(before.stdout.contains("onest life"), "{before}");
    assert!(!before.stdout.contains("twond life"), "{before}");
    let both = guest.vserver("logs", [""; 0]).ok().stdout;
    assert!(both.starts_with(&before.stdout) && both.contains(&now), "{both}");
    guest.vserver("logs", ["-b", "2"]).code(1).complains("no boot of guest 'web' 2 before");
    let events = guest.vserver("logs", ["--events", "-n", "1"]).ok();
    assert!(events.stdout.contains("the guest is down"), "{events}");
}

fn console_shows_the_past_and_what_comes(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut terminal = Terminal::open(&guest.command("console", [""; 0]));
    terminal.expect("rcS: boot scripts run");
    guest.shell("echo some''thing new >/dev/console").ok();
    terminal.expect("something new");
    drop(terminal);
    assert!(guest.is_running(), "leaving the console leaves the guest alone");
    guest.stop();
}

fn who_does_not_keep_up_goes_on(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let (mut terminal, pid) = Terminal::open_known(&guest.command("console", [""; 0]));
    terminal.expect("rcS: boot scripts run");
    falls_behind(&guest, &mut terminal, pid);
    terminal.type_in("\x1d");
    assert_eq!(terminal.end(), 0);
    guest.stop();
}

/// Whoever shows the console doesn't keep up with the guest, and then says so and goes on.
pub fn falls_behind(guest: &Guest<'_>, terminal: &mut Terminal, pid: Pid) {
    kill(pid, Signal::SIGSTOP).expect("it lives");
    guest.shell("yes 'more than a socket holds' | head -c 2000000 >/dev/console").ok();
    kill(pid, Signal::SIGCONT).expect("it lives");
    terminal.expect("may be missing");
    guest.shell("echo some''thing new >/dev/console").ok();
    terminal.expect("something new");
}

/// As it is below timeout(1), which makes a process group of its own.
fn a_job_in_the_background_only_listens(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let console = guest.command("console", [""; 0]);
    let mut terminal = Terminal::shell("timeout 3600 \"$@\"; echo code=$?", &console);
    terminal.expect("rcS: boot scripts run");
    guest.stop();
    terminal.expect("code=0");
    assert_eq!(terminal.end(), 0);
}

fn a_flood_on_the_console_blocks_nobody(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("console.log_size", "100000").build();
    guest.start();
    let keeper = guest.status().keeper_pid.expect("a running guest has a keeper");
    let before = process::anonymous(keeper);
    guest.shell("yes 'a line that is written very often' | head -c 20000000 >/dev/console").ok();
    let grown = process::anonymous(keeper).saturating_sub(before);
    assert!(grown < 150 * 1024, "the keeper's memory doesn't grow with it: by {grown} bytes");
    let directory = host.prefix().join("var/log/vserver");
    let files = std::fs::read_dir(directory).expect("there are logs").flatten();
    let bytes: u64 = files.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum();
    assert!(bytes < 400_000, "two logs of 100,000 bytes, not {bytes}");
    guest.stop();
}
