//! A guest boots to its default runlevel from its own files, unmodified.

use std::fs;
use std::time::Instant;

use tests::{DEADLINE, Guest, Host, Tree, eventually, process};

on! { Bookworm, Trixie, Busybox, Copy: [reaches_its_default_runlevel, leaves_nothing_when_stopped] }
on! { Busybox, Bookworm: [pid_1_is_small_and_holds_nothing_of_the_host] }
on! { Bookworm, Trixie: [
    tells_its_runlevel_and_its_boot,
    runs_cron_and_sshd,
    gives_scripts_their_environment,
    is_the_same_when_booted_directly,
] }

fn reaches_its_default_runlevel(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let begun = Instant::now();
    guest.start();
    let status = guest.status();
    assert_eq!(status.state, "running", "{status:?}");
    assert_eq!(status.name, "web");
    let style = match tree {
        Tree::Bookworm | Tree::Trixie | Tree::Services | Tree::Openrc | Tree::S6 => "sysv",
        Tree::Busybox => "busybox",
        Tree::Systemd | Tree::SystemdTrixie | Tree::Runit | Tree::Finit => "init",
        Tree::Copy => "rc",
    };
    assert_eq!(status.style.as_deref(), Some(style), "{status:?}");
    guest.exec(["cat", "/proc/1/comm"]).ok().says("guest-init\n");
    guest.exec(["hostname"]).ok().says("web\n");
    let uptime = guest.exec(["cat", "/proc/uptime"]).ok();
    let seconds: f64 =
        uptime.stdout.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(-1.0);
    // It is set back by a whole number of seconds.
    let since = begun.elapsed().as_secs_f64() + 1.1;
    assert!((0.0..since).contains(&seconds), "the clock starts at 0 at the boot\n{uptime}");
    guest.stop();
}

fn leaves_nothing_when_stopped(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = tests::Census::after_a_boot(&guest);
    guest.start().stop();
    before.assert_unchanged(&host);
}

fn pid_1_is_small_and_holds_nothing_of_the_host(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let init = guest.init_pid();
    let size = fs::metadata(format!("/proc/{init}/exe")).expect("PID 1 was executed").len();
    assert!(size <= 1_600_000, "guest-init has {size} bytes");
    let entries = fs::read_dir(format!("/proc/{init}/fd")).expect("a living process").flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let targets: Vec<_> = targets.map(|to| to.to_string_lossy().into_owned()).collect();
    // A path is as the guest sees it, if its root can reach it.
    let inside = ["socket:", "pipe:", "anon_inode:", "/dev/", "/run/initctl"];
    let foreign = targets.iter().filter(|to| !inside.iter().any(|start| to.starts_with(start)));
    assert_eq!(foreign.count(), 0, "descriptors of PID 1: {targets:?}");
}

fn tells_its_runlevel_and_its_boot(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    guest.exec(["runlevel"]).ok().says("N 2\n");
    let who = guest.exec(["who", "-b", "-r"]).ok();
    assert!(who.stdout.contains("system boot"), "{who}");
    // trixie's own prints no runlevel under sysvinit, either.
    assert!(tree == Tree::Trixie || who.stdout.contains("run-level 2"), "{who}");
}

fn runs_cron_and_sshd(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    guest.wait_for_process("cron");
    guest.wait_for_process("sshd");
    // Alive also when asked the guest's own way, once each has written its pid down.
    for script in ["/etc/init.d/cron", "/etc/init.d/ssh"] {
        eventually(DEADLINE, &format!("{script} finds it"), || {
            (guest.exec([script, "status"]).code == 0).then_some(())
        });
    }
}

fn gives_scripts_their_environment(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("boot.environment.SITE", "berlin").build();
    guest.write("/etc/rc.local", "#!/bin/sh\nenv >/root/environment\n", 0o755);
    let mut start = guest.command("start", [""; 0]);
    start.env("HOST_SECRET", "leaked");
    tests::command::run(&mut start, DEADLINE).ok();
    let environment = guest.read("/root/environment");
    let has = |line: &str| environment.lines().any(|other| other == line);
    for line in ["RUNLEVEL=2", "PREVLEVEL=N", "container=vserver", "SITE=berlin"] {
        assert!(has(line), "{line} is missing from the scripts' environment:\n{environment}");
    }
    assert!(environment.contains("PATH=/"), "no PATH:\n{environment}");
    assert!(
        !environment.contains("HOST_SECRET"),
        "the host's environment is inside:\n{environment}"
    );
}

fn is_the_same_when_booted_directly(tree: Tree) {
    let host = Host::new();
    let written = host.guest("written").tree(tree).build();
    let direct = host.guest("direct").tree(tree).set("boot.rc", "direct").build();
    written.start();
    direct.start();
    // Scripts in the background may still be ending.
    eventually(DEADLINE, "both have the same daemons", || {
        let both = [daemons(&written), daemons(&direct)];
        println!("{both:?}");
        (both[0] == both[1]).then_some(())
    });
    direct.exec(["runlevel"]).ok().says("N 2\n");
    direct.stop();
}

/// The names of the processes that a boot has left running.
fn daemons(guest: &Guest<'_>) -> Vec<String> {
    for name in ["cron", "sshd"] {
        guest.wait_for_process(name);
    }
    assert!(process::is_alive(guest.init_pid()));
    let answer = guest.exec(["ps", "-eo", "comm="]).ok();
    let mut names: Vec<_> = answer.stdout.lines().map(|l| l.trim().to_owned()).collect();
    names.sort();
    names
}
