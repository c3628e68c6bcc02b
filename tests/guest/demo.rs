//! `vserver demo`, a newcomer's first command: it shows a guest's whole life,
//! and leaves nothing.

use std::fs;
use std::time::Duration;

use tests::{Census, Host, Tree, command};

on! { Copy: [the_demo_works_and_leaves_nothing] }

fn the_demo_works_and_leaves_nothing(_: Tree) {
    let host = Host::new();
    let before = Census::take(&host);
    let demo = command::run(&mut host.command(["demo"]), Duration::from_secs(300)).ok();
    for shown in ["guest-init", "Uptime:", "reboot"] {
        let everything = format!("{}{}", demo.stdout, demo.stderr);
        assert!(everything.contains(shown), "{shown} isn't shown\n{demo}");
    }
    before.assert_unchanged(&host);
    for left in [host.paths().config_dir(), host.paths().roots_dir()] {
        let entries = fs::read_dir(&left).into_iter().flatten().flatten();
        let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        assert!(names.is_empty(), "left in {left:?}: {names:?}");
    }
}
