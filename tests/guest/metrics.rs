//! `vserver metrics`: figures for Prometheus, of guests that run and of those
//! that did.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tests::{DEADLINE, Host, Tree, eventually};

on! { Busybox: [figures_go_on_when_the_guest_ends] }

fn figures_go_on_when_the_guest_ends(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let metric = |name: &str| -> Option<f64> {
        let text = host.vserver(["metrics"]).ok().stdout;
        assert!(text.ends_with("# EOF\n"), "{text}");
        let start = format!("vserver_guest_{name}{{guest=\"web\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(start.as_str()))?;
        Some(line.parse().expect("a number"))
    };
    assert_eq!(metric("running"), Some(0.0));
    assert_eq!(metric("boots_total"), Some(0.0));
    web.start();
    assert_eq!(metric("running"), Some(1.0));
    // Scripts of its boot may still come and go.
    eventually(DEADLINE, "both count the same processes", || {
        let processes = metric("processes").expect("processes of a guest that runs");
        (Some(processes as u64) == web.status().processes).then_some(())
    });
    assert!(metric("resident_memory_bytes") > Some(0.0));
    web.stop();
    assert_eq!(metric("running"), Some(0.0));
    assert_eq!(metric("boots_total"), Some(1.0));
    assert_eq!(metric("processes"), None);

    // A collector that isn't root reads the file, and never half of it.
    let file = host.prefix().join("vserver.prom");
    let path = file.to_str().expect("a path");
    for _ in 0..2 {
        host.vserver(["metrics", "--output", path]).ok().says("");
        let written = fs::read_to_string(&file).expect("the file is there");
        assert_eq!(sorted(&written), sorted(&host.vserver(["metrics"]).ok().stdout));
        let mode = fs::metadata(&file).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
    let nowhere = host.prefix().join("nowhere");
    let within = nowhere.join("vserver.prom");
    let within = within.to_str().expect("a path");
    host.vserver(["metrics", "--output", within]).code(1).complains("nowhere");
    assert!(!nowhere.exists());
}

/// The figures of one name may come in any order.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}
