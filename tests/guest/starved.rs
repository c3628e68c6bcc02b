//! The host has nothing left to give: a start fails in one sentence and is
//! undone, and a guest that runs goes on.

use std::fs;
use std::process::{Command, Stdio};

use tests::{Census, DEADLINE, Host, Small, Tree, command, eventually, process};

on! { Busybox: [
    a_start_without_descriptors_is_undone,
    a_full_run_directory_harms_no_guest_that_runs,
    a_supervisor_without_descriptors_says_so_and_goes_on,
] }

/// From none for the command to nearly enough for the guest.
const DESCRIPTORS: &[u32] = &[4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32];

fn a_start_without_descriptors_is_undone(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    for count in DESCRIPTORS {
        let start = guest.command("start", [""; 0]);
        let mut poor = Command::new("prlimit");
        poor.arg(format!("--nofile={count}:{count}")).arg(start.get_program());
        poor.args(start.get_args());
        for (key, value) in start.get_envs() {
            poor.env(key, value.unwrap_or_default());
        }
        let end = command::run(&mut poor, DEADLINE).code(1);
        let end = end.complains("Too many open files");
        assert_eq!(end.stderr.matches("vserver: ").count(), 1, "{count}: {end}");
        before.assert_unchanged(&host);
    }
    guest.start().stop();
}

fn a_full_run_directory_harms_no_guest_that_runs(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start().stop();
    let small = Small::on(&host.paths().run_dir(), "256k");
    let before = Census::when_quiet(&host);
    small.fill();
    guest.vserver("start", [""; 0]).code(1).complains("No space left on device");
    small.empty();
    before.assert_unchanged(&host);

    guest.start();
    small.fill();
    let init = guest.init_pid();
    guest.kill_supervisor();
    guest.exec(["true"]).ok();
    assert_eq!(guest.init_pid(), init, "the next supervisor has taken it over");
    // It goes down as it should, and can't come up.
    guest.vserver("reboot", [""; 0]).code(1).complains("No space left on device");
    small.empty();
    guest.vserver("start", [""; 0]).ok();
    assert_eq!(guest.status().state, "running");
    guest.stop();
    before.assert_unchanged(&host);
}

/// Each session keeps a connection to the supervisor.
fn a_supervisor_without_descriptors_says_so_and_goes_on(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    guest.start();
    guest.exec(["true"]).ok();
    let (init, supervisor) = (guest.init_pid(), guest.status().supervisor_pid.expect("it runs"));
    let numbers = fs::read_dir(format!("/proc/{supervisor}/fd")).expect("it runs").flatten();
    let numbers = numbers.map(|entry| entry.file_name().to_string_lossy().parse::<usize>());
    let most = numbers.map_while(Result::ok).max().expect("it has some") + 1;
    let mut limit = Command::new("prlimit");
    limit.args(["--pid", &supervisor.to_string(), &format!("--nofile={most}:")]);
    command::run(&mut limit, DEADLINE).ok();
    let session = || {
        let mut session = guest.command("exec", ["--", "sleep", "7202"]);
        session.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be run")
    };
    // One by one: what was asked before may be connected still, and go.
    let mut sessions = Vec::new();
    eventually(DEADLINE, "it has none left", || {
        let is_there = |one: &&process::Process| one.arguments == ["sleep", "7202"];
        if host.processes().iter().filter(is_there).count() < sessions.len() {
            return None;
        }
        let has_none = process::descriptors(supervisor) == most;
        if !has_none {
            sessions.push(session());
        }
        has_none.then_some(())
    });
    for words in [["status", "web"].as_slice(), &["exec", "web", "--", "true"]] {
        let refused = host.vserver(words);
        assert_ne!(refused.code, 0, "{refused}");
        refused.complains("can take no connection").complains("a limit on open files is reached");
    }
    // With the first session that ends there is one.
    for session in &mut sessions {
        session.kill().expect("it can be killed");
        session.wait().expect("it has ended");
    }
    let status = guest.status();
    assert_eq!((status.init_pid, status.supervisor_pid), (Some(init), Some(supervisor)));
    guest.exec(["true"]).ok();
    guest.stop();
    before.assert_unchanged(&host);
}
