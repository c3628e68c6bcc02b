//! A guest that runs and whose configuration file is gone is still there.

use std::fs;

use tests::{Census, Host, Tree};

on! { Busybox: [
    a_guest_without_a_configuration_is_one_of_all,
    nothing_is_removed_from_under_a_guest,
    a_file_that_cant_be_read_holds_up_nobody_else,
] }

fn a_guest_without_a_configuration_is_one_of_all(tree: Tree) {
    let host = Host::new();
    let (web, db) = (host.guest("web").tree(tree).build(), host.guest("db").tree(tree).build());
    web.start();
    db.start();
    let file = host.paths().config_dir().join("web.toml");
    let text = fs::read_to_string(&file).expect("it is there");
    fs::remove_file(&file).expect("it can be removed");

    let names = |words: &[&str]| {
        let list = host.vserver(["list", "--names"].iter().chain(words)).ok().stdout;
        list.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["db", "web"]);
    assert_eq!(names(&["--running"]), ["db", "web"]);
    assert_eq!(names(&["--mark", "customers"]), [""; 0]);
    let status = host.vserver(["status", "--all"]).ok();
    assert!(status.stdout.contains("'web'"), "{status}");
    let reexec = host.vserver(["reexec", "--all"]).ok();
    assert_eq!(reexec.stderr.matches("is this program already").count(), 2, "{reexec}");
    // It isn't stopped for a start that is none.
    host.vserver(["restart", "web"]).code(5).complains("there is no guest 'web'");
    assert!(web.is_running());
    host.vserver(["start", "--all"]).ok();

    let dry = host.vserver(["stop", "--all", "--dry-run"]).ok();
    assert!(dry.stdout.contains("web"), "{dry}");
    host.vserver(["stop", "--all"]).ok();
    // Supervisors end a moment after their guests.
    Census::when_quiet(&host);
    assert_eq!(names(&[]), ["db"]);
    fs::write(&file, text).expect("it can be written");
    assert!(!web.is_running() && !db.is_running());
}

/// Also not if nobody knows what it is.
fn nothing_is_removed_from_under_a_guest(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    host.vserver(["install", "--no-capability"]).ok();
    let program = host.prefix().join("usr/local/bin/vserver");
    web.start();
    let file = host.paths().config_dir().join("web.toml");
    let aside = host.prefix().join("web.toml");
    fs::rename(&file, &aside).expect("it can be moved");
    for words in [&["install", "--remove"][..], &["install", "--remove", "--dry-run"]] {
        let refused = host.vserver(words).code(1).complains("guest 'web' runs");
        refused.complains("vserver stop --all");
        assert!(program.exists());
    }
    fs::rename(&aside, &file).expect("it can be moved");
    web.stop();
    host.vserver(["install", "--remove"]).ok();
    assert!(!program.exists());
}

fn a_file_that_cant_be_read_holds_up_nobody_else(tree: Tree) {
    let host = Host::new();
    let (web, db) = (host.guest("web").tree(tree).build(), host.guest("db").tree(tree).build());
    web.start();
    db.start();
    let directory = host.paths().config_dir();
    let file = directory.join("web.toml");
    let text = fs::read(&file).expect("it is there");
    let line = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    fs::write(&file, [&text, &b"# M\xfcller\n"[..]].concat()).expect("it can be written");
    fs::create_dir(directory.join("none.toml")).expect("it can be made");
    for guest in [&db, &web] {
        guest.kill_supervisor();
        assert!(guest.is_running());
        guest.stop();
    }
    db.start();
    host.vserver(["config", "set", "db", "description", "Datenbank"]).ok();
    db.stop();
    host.vserver(["clone", "db", "copy"]).ok();
    host.vserver(["rename", "copy", "other"]).ok();
    host.vserver(["delete", "other", "--yes"]).ok();
    let refused = web.vserver("start", [""; 0]).code(1);
    refused.complains(&format!("web.toml:{line}:4: the byte 0xfc is no UTF-8"));
    host.vserver(["config", "check"]).code(1).complains("web.toml:");
}
