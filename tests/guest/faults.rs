//! Every step of a start made to fail in turn: the message names the step,
//! and nothing is left.

use shared::stage::Stage;
use tests::{Census, DEADLINE, Host, Network, Tree, command};

on! { Busybox: [every_step_that_fails_is_named_and_undone, every_mount_that_fails_is_undone] }

fn every_step_that_fails_is_named_and_undone(tree: Tree) {
    let host = Host::on(Network::new());
    let guest = host
        .guest("web")
        .tree(tree)
        .set("network.addresses", "192.0.2.10")
        .set("accounting.processes", "true")
        .set("mounts.bind", "/usr/share:/srv/share:ro")
        .set("boot.credentials.word", "text")
        .build();
    let before = Census::after_a_boot(&guest);
    let links = || host.network().ip("-o link");
    let links_before = links();
    for stage in Stage::ALL {
        let mut start = guest.command("start", [""; 0]);
        start.env("VSERVER_FAULT", stage.name());
        let start = command::run(&mut start, DEADLINE);
        let name = stage.name();
        assert_eq!(start.code, 1, "{name} was to fail\n{start}");
        assert!(start.stderr.contains(stage.describe()), "{name} is not named\n{start}");
        assert!(start.stderr.contains("'web'"), "the guest is not named\n{start}");
        assert_eq!(start.stderr.matches(stage.describe()).count(), 1, "{name}: once\n{start}");
        assert!(!guest.is_running(), "{name}");
        before.assert_unchanged(&host);
        assert_eq!(links(), links_before, "{name}");
    }
    guest.start().stop();
}

fn every_mount_that_fails_is_undone(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    for step in 0..8 {
        let mut start = guest.command("start", [""; 0]);
        // 28 is ENOSPC: the cause is to be the one that was given.
        start.env("VSERVER_FAULT", format!("mount:{step}:28"));
        let start = command::run(&mut start, DEADLINE).code(1);
        start.complains(Stage::Mount.describe()).complains("No space left on device");
        before.assert_unchanged(&host);
    }
    guest.start().stop();
}
