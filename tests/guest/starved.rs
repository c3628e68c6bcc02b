//! The host has nothing left to give: a start fails in one sentence and is
//! undone, and a guest that runs goes on.

use std::process::Command;

use tests::{Census, DEADLINE, Host, Small, Tree, command};

on! { Busybox: [
    a_start_without_descriptors_is_undone,
    a_full_run_directory_harms_no_guest_that_runs,
] }

/// From none for the command to nearly enough for the guest.
const DESCRIPTORS: &[u32] = &[4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32];

fn a_start_without_descriptors_is_undone(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start().stop();
    let before = Census::when_quiet(&host);
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
