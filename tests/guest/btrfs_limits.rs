//! A limit on the disk on btrfs: a quota group of the guest's subvolume.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::{DEADLINE, Disk, Guest, Host, Tree, command};

on! { Busybox: [
    a_guests_subvolume_is_limited_at_start_and_while_it_runs,
    a_guest_at_its_limit_starts_again,
    no_limit_is_left_where_quotas_have_gone,
    quotas_that_are_wrong_are_said,
    what_an_ephemeral_guest_writes_is_limited,
    without_quotas_or_a_subvolume_the_remedy_is_named,
] }

const MEGABYTE: u64 = 1 << 20;

fn btrfs(words: &[&str], path: &Path) -> String {
    let mut btrfs = Command::new("btrfs");
    command::run(btrfs.args(words).arg(path), DEADLINE).ok().stdout
}

fn with_quotas(host: &Host) -> Disk {
    let disk = Disk::btrfs(host, 1024);
    btrfs(&["quota", "enable"], disk.path());
    btrfs(&["quota", "rescan", "-w"], disk.path());
    disk
}

/// Writes this many megabytes that nothing shrinks; says how it ended.
fn write(guest: &Guest<'_>, megabytes: u64) -> (bool, String) {
    let line = format!("dd if=/dev/urandom of=/srv/fill bs=1M count={megabytes} && sync");
    let done = guest.shell(&line);
    (done.code == 0, done.stderr)
}

/// What `vserver limits` says: configured, in force, used.
fn disk(guest: &Guest<'_>) -> [Value; 3] {
    let shown = guest.vserver("limits", ["--json"]).ok();
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let rows = shown["limits"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["key"] == "disk").expect("a row");
    ["configured", "in_force", "use"].map(|key| row[key].clone())
}

/// The limit of a subvolume as btrfs(8) shows it.
fn limit_by_btrfs(path: &Path) -> String {
    let shown = btrfs(&["qgroup", "show", "--raw", "-r", "-f", "--sync"], path);
    let row = shown.lines().last().unwrap_or_default();
    row.split_whitespace().nth(3).unwrap_or_default().to_owned()
}

fn a_guests_subvolume_is_limited_at_start_and_while_it_runs(tree: Tree) {
    let host = Host::new();
    let space = with_quotas(&host);
    let web = host.guest("web").tree(tree).set("limits.disk", "60M").build();
    let other = host.guest("other").tree(tree).build();
    assert_eq!(limit_by_btrfs(&web.root()), "none");
    web.start();
    assert_eq!(limit_by_btrfs(&web.root()), (60 * MEGABYTE).to_string());
    let (is_written, why) = write(&web, 100);
    assert!(!is_written && why.to_lowercase().contains("quota"), "{why}");
    let [configured, in_force, used] = disk(&web);
    assert_eq!((configured, in_force), ("60M".into(), (60 * MEGABYTE).into()));
    let used = used.as_u64().expect("a number");
    assert!((40 * MEGABYTE..=60 * MEGABYTE).contains(&used), "{used}");
    let status = web.vserver("status", [""; 0]).ok().stdout;
    assert!(status.contains(" of 60M\n"), "{status}");
    // As the documentation says: what is free of it isn't what `df` shows.
    web.shell("df -m / | tail -n 1 | awk '{ exit !($2 > 900) }'").ok();
    // It alone.
    other.start();
    assert!(write(&other, 100).0);
    assert_eq!(disk(&other)[1], "max");
    // What is full can be emptied, and may have more from now on.
    web.shell("rm /srv/fill && sync").ok();
    assert!(write(&web, 20).0);
    web.vserver("limits", ["disk=200M"]).ok();
    assert_eq!(limit_by_btrfs(&web.root()), (200 * MEGABYTE).to_string());
    assert!(write(&web, 100).0);

    // Snapshots are the host's, and what is put back is limited again.
    host.vserver(["snapshot", "create", "web", "v1"]).ok();
    assert!(write(&web, 120).0);
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["snapshot", "restore", "web", "v1", "--yes"]).ok();
    host.vserver(["clone", "web", "shop"]).ok();
    for name in ["web", "shop"] {
        let guest = web.other(name);
        guest.start();
        assert_eq!(limit_by_btrfs(&guest.root()), (200 * MEGABYTE).to_string());
        guest.vserver("stop", ["--timeout", "1"]);
    }
    web.vserver("limits", ["disk="]).ok();
    assert_eq!(limit_by_btrfs(&web.root()), "none");
    // Somebody else's limit is left alone.
    btrfs(&["qgroup", "limit", "300M"], &web.root());
    web.start();
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(limit_by_btrfs(&web.root()), (300 * MEGABYTE).to_string());
    other.vserver("stop", ["--timeout", "1"]);
    host.vserver(["delete", "web", "shop", "other", "--yes"]).ok();
    drop(space);
}

/// Writes until the disk is full, to the last block.
fn fill(guest: &Guest<'_>) {
    let (is_written, why) = write(guest, 100);
    assert!(!is_written && why.to_lowercase().contains("quota"), "{why}");
    guest
        .shell("i=0; while [ $i -lt 3000 ] && echo >/srv/n$i; do i=$((i+1)); done; sync; true")
        .ok();
}

fn a_guest_at_its_limit_starts_again(tree: Tree) {
    let host = Host::new();
    let space = with_quotas(&host);
    let web = host.guest("web").tree(tree).set("limits.disk", "60M").build();
    web.start();
    fill(&web);
    let fill = web.root().join("srv/fill");
    let length = std::fs::metadata(&fill).expect("it is there").len();
    assert!(length > 20 * MEGABYTE, "{length}");
    for _ in 0..2 {
        web.vserver("stop", ["--timeout", "1"]);
        web.start();
        assert_eq!(limit_by_btrfs(&web.root()), (60 * MEGABYTE).to_string());
    }
    assert_eq!(std::fs::metadata(&fill).expect("it is there").len(), length);
    // Less than it has, without and with a limit before.
    let other = host.guest("other").tree(tree).build();
    other.start();
    assert!(write(&other, 40).0);
    for guest in [&other, &web] {
        let had = limit_by_btrfs(&guest.root());
        let refused = guest.vserver("limits", ["disk=20M"]).code(1);
        refused.complains("MiB of the disk now, more than 20.0 MiB").complains("--force");
        assert_eq!(limit_by_btrfs(&guest.root()), had);
        guest.vserver("limits", ["disk=20M", "--force"]).ok();
        assert_eq!(limit_by_btrfs(&guest.root()), (20 * MEGABYTE).to_string());
        // What is so already is in nobody's way.
        guest.vserver("limits", ["nice=1"]).ok();
        let more = guest.shell("dd if=/dev/urandom of=/srv/more bs=1M count=1 && sync");
        assert_ne!(more.code, 0, "{more}");
        guest.vserver("limits", ["disk="]).ok();
        assert_eq!(limit_by_btrfs(&guest.root()), "none");
        assert!(write(guest, 60).0);
    }
    // Where somebody else's limit is reached, ours takes its place.
    btrfs(&["qgroup", "limit", "20M"], &other.root());
    other.vserver("limits", ["disk=30M"]).ok();
    assert_eq!(limit_by_btrfs(&other.root()), (30 * MEGABYTE).to_string());
    other.vserver("limits", ["disk="]).ok();
    assert_eq!(limit_by_btrfs(&other.root()), "none");
    for guest in [&web, &other] {
        guest.vserver("stop", ["--timeout", "1"]);
    }
    drop(space);
}

fn no_limit_is_left_where_quotas_have_gone(tree: Tree) {
    let host = Host::new();
    let space = with_quotas(&host);
    let web = host.guest("web").tree(tree).set("limits.disk", "60M").build();
    let shop = host.guest("shop").tree(tree).set("limits.disk", "60M").build();
    for guest in [&web, &shop] {
        guest.start();
    }
    shop.vserver("stop", ["--timeout", "1"]);
    btrfs(&["quota", "disable"], space.path());
    web.vserver("limits", ["disk="]).ok();
    web.vserver("stop", ["--timeout", "1"]);
    // One that is down forgets its limit with its next start.
    shop.vserver("start", [""; 0]).code(1).complains("keeps no quotas");
    host.vserver(["config", "unset", "shop", "limits.disk"]).ok();
    // And nothing is taken from who has a limit by hand from now on.
    for guest in [&web, &shop] {
        guest.start();
        guest.vserver("stop", ["--timeout", "1"]);
    }
    btrfs(&["quota", "enable"], space.path());
    btrfs(&["quota", "rescan", "-w"], space.path());
    for guest in [&web, &shop] {
        btrfs(&["qgroup", "limit", "300M"], &guest.root());
        guest.start();
        guest.vserver("stop", ["--timeout", "1"]);
        assert_eq!(limit_by_btrfs(&guest.root()), (300 * MEGABYTE).to_string());
    }
    drop(space);
}

fn what_an_ephemeral_guest_writes_is_limited(tree: Tree) {
    let host = Host::new();
    let space = with_quotas(&host);
    let web = host.guest("web").tree(tree).set("limits.disk", "60M").build();
    web.vserver("start", ["--ephemeral"]).ok();
    let (is_written, why) = write(&web, 100);
    assert!(!is_written && why.to_lowercase().contains("quota"), "{why}");
    web.shell("rm /srv/fill").ok();
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(super::storage::beside(&host), ["web"]);
    drop(space);
}

fn without_quotas_or_a_subvolume_the_remedy_is_named(tree: Tree) {
    let host = Host::new();
    let space = Disk::btrfs(&host, 512);
    let web = host.guest("web").tree(tree).set("limits.disk", "60M").build();
    let refused = web.vserver("start", [""; 0]).code(1);
    refused.complains("keeps no quotas").complains("btrfs quota enable");
    host.vserver(["config", "set", "web", "limits.required", "false"]).ok();
    web.start();
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["config", "set", "web", "limits.required", "true"]).ok();
    btrfs(&["quota", "enable"], space.path());
    // One inside would not be counted.
    btrfs(&["subvolume", "create"], &web.root().join("srv/inside"));
    web.vserver("start", [""; 0]).code(1).complains("other subvolumes are in it");
    host.vserver(["clone", "web", "whole"]).ok();
    let whole = web.other("whole");
    whole.start();
    whole.vserver("stop", ["--timeout", "1"]);
    // A directory has no account of its own.
    let plain = space.path().join("plain");
    let mut copy = Command::new("cp");
    command::run(copy.arg("-a").arg(whole.root()).arg(&plain), DEADLINE).ok();
    host.vserver(["config", "set", "whole", "root", &plain.to_string_lossy()]).ok();
    whole.vserver("start", [""; 0]).code(1).complains("no subvolume");
    drop(space);
}

fn quotas_that_are_wrong_are_said(tree: Tree) {
    let host = Host::new();
    let space = with_quotas(&host);
    let web = host.guest("web").tree(tree).set("limits.disk", "60M").build();
    let said = || web.vserver("start", [""; 0]).ok().stderr.contains("btrfs quota rescan -w");
    let found = || {
        let found = host.vserver(["doctor"]);
        found.stdout.lines().any(|line| line.contains("btrfs quota rescan -w"))
    };
    assert!(!said() && !found());
    web.stop();
    // A group of groups, one of which shares blocks: the kernel doesn't count.
    host.vserver(["snapshot", "create", "web", "one"]).ok();
    let number = btrfs(&["inspect-internal", "rootid"], &web.root());
    btrfs(&["qgroup", "create", "1/0"], space.path());
    let group = format!("0/{}", number.trim());
    btrfs(&["qgroup", "assign", "--no-rescan", &group, "1/0"], space.path());
    assert!(said() && found());
    web.stop();
    btrfs(&["quota", "rescan", "-w"], space.path());
    assert!(!said() && !found());
    web.stop();
}
