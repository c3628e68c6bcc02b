//! Limits for the users of a guest that has a file system of its own: this
//! kernel has the quotas of ext4 and xfs.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::{DEADLINE, Guest, Host, Tree, command};

fn run(wanted: &mut Command) {
    command::run(wanted, DEADLINE).ok();
}

/// A guest in an image of ext4, with two users.
fn in_image<'h>(host: &'h Host, made_with_quotas: bool) -> Guest<'h> {
    run(Command::new("modprobe").arg("quota_v2"));
    let web = in_image_of(host, "ext4", "128M");
    if !made_with_quotas {
        let root = web.root();
        run(Command::new("tune2fs").args(["-O", "^quota"]).arg(root));
    }
    web
}

fn in_image_of<'h>(host: &'h Host, filesystem: &str, size: &str) -> Guest<'h> {
    let golden = host.guest("golden").tree(Tree::Busybox).build();
    golden
        .shell(
            "printf 'www:x:1001:1001::/:/bin/sh\nmail:x:1002:1002::/:/bin/sh\n' >>/etc/passwd
            mkdir -m 1777 /srv/all",
        )
        .ok();
    let image = ["--storage", "image", "--filesystem", filesystem, "--size", size];
    host.vserver(["clone", "golden", "web"].iter().chain(&image)).ok();
    golden.other("web")
}

/// Writes as a user of the guest.
fn write(guest: &Guest<'_>, user: &str, megabytes: u32) -> (bool, String) {
    let line = format!("dd if=/dev/zero of=/srv/all/{user} bs=1M count={megabytes}");
    let words = ["suexec", user, guest.name(), "--", "sh", "-c", line.as_str()];
    let done = guest.host().vserver(words);
    (done.code == 0, done.stderr)
}

fn quota(guest: &Guest<'_>, user: &str) -> Value {
    let shown = guest.vserver("quota", ["--json"]).ok();
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let users = shown["users"].as_array().expect("users");
    users.iter().find(|row| row["user"] == user).cloned().unwrap_or_default()
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_user_is_held_to_its_quota() {
    let host = Host::new();
    let web = in_image(&host, true);
    users_are_held(&web, &["private", "identity", "host"]);
    run(Command::new("fsck.ext4").args(["-f", "-n"]).arg(web.root()));
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_user_is_held_to_its_quota_on_xfs() {
    let host = Host::new();
    let web = in_image_of(&host, "xfs", "300M");
    web.vserver("quota", ["root", "1M"]).code(1).complains("root can't be limited on xfs");
    users_are_held(&web, &["private"]);
    // One that keeps none is mended as the error says, and keeps its limits
    // from then on.
    let mount = |options: &str| {
        let at = host.prefix().join("at");
        fs::create_dir_all(&at).expect("it can be made");
        run(Command::new("mount").args(["-o", options]).arg(web.root()).arg(&at));
        run(Command::new("umount").arg(&at));
    };
    mount("loop");
    let refused = web.vserver("quota", [""; 0]).code(1);
    refused.complains("keeps no quotas of users").complains("uquota");
    mount("loop,uquota");
    web.vserver("quota", ["www", "8M"]).ok();
    web.start();
    assert!(!write(&web, "www", 12).0);
    // A copy has the limits, too.
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["clone", "web", "shop", "--snapshot", "s1"]).ok();
    assert_eq!(quota(&web.other("shop"), "www")["limit_bytes"], 8 << 20);
    run(Command::new("xfs_repair").arg("-n").arg(web.root()));
}

/// While the guest is down, and while it runs.
fn users_are_held(web: &Guest<'_>, modes: &[&str]) {
    let host = web.host();
    for mode in modes {
        host.vserver(["config", "set", "web", "security.users", mode]).ok();
        web.vserver("quota", ["www", "8M", "--soft", "6M", "--files", "10"]).ok();
        web.start();
        let row = quota(web, "www");
        assert_eq!((&row["uid"], &row["limit_bytes"]), (&1001.into(), &(8 << 20).into()), "{row}");
        assert_eq!((&row["soft_bytes"], &row["limit_files"]), (&(6 << 20).into(), &10.into()));
        let (is_written, why) = write(web, "www", 12);
        assert!(!is_written && why.contains("uota exceeded"), "{why}");
        let used = quota(web, "www")["used_bytes"].as_u64().expect("a number");
        assert!((7 << 20..=8 << 20).contains(&used), "{used}");
        assert!(write(web, "mail", 12).0, "others have no limit");
        let many = "for i in 1 2 3 4 5 6 7 8 9 10 11; do touch /srv/all/www-$i || exit 9; done";
        let refused = host.vserver(["suexec", "www", "web", "--", "sh", "-c", many]).code(9);
        refused.complains("uota exceeded");
        web.vserver("quota", ["1001", "40M", "--soft", "max", "--files", "max"]).ok();
        assert!(write(web, "www", 12).0);
        let row = quota(web, "www");
        assert!(row["soft_bytes"].is_null() && row["limit_files"].is_null(), "{row}");
        web.vserver("quota", ["www", "max"]).ok();
        web.shell("rm -f /srv/all/*").ok();
        web.vserver("stop", ["--timeout", "1"]);
        assert!(quota(web, "www").is_null(), "who has nothing and no limit isn't listed");
    }
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn what_cannot_be_limited_is_said() {
    let host = Host::new();
    let web = in_image(&host, false);
    let refused = web.vserver("quota", [""; 0]).code(1);
    refused.complains("keeps no quotas of users").complains("tune2fs -O quota");
    run(Command::new("tune2fs").args(["-O", "quota", "-Q", "usrquota"]).arg(web.root()));
    web.vserver("quota", ["www", "1M"]).ok();
    web.vserver("quota", ["nobody-here", "1M"]).code(1).complains("has no user");
    web.vserver("quota", ["65536", "1M"]).code(2).complains("its ids end at 65535");
    web.vserver("quota", ["www", "--soft", "2M"]).code(2).complains("above the limit");
    assert_eq!(quota(&web, "www")["limit_bytes"], 1 << 20);
    // Its root may put there what it likes: names only name.
    web.start();
    web.shell("mv /etc/passwd /etc/own; ln -s /proc/1/environ /etc/passwd").ok();
    assert_eq!(quota(&web, "1001")["limit_bytes"], 1 << 20);
    web.shell("rm /etc/passwd; mkfifo /etc/passwd").ok();
    assert_eq!(quota(&web, "1001")["limit_bytes"], 1 << 20);
    web.shell("rm /etc/passwd; printf 'a\\033[2Jb:x:1001:1001::/:\\n:::\\n' >/etc/passwd").ok();
    let shown = web.vserver("quota", [""; 0]).ok().stdout;
    assert!(shown.contains("a\\x1b[2Jb"), "{shown}");
    web.shell("rm /etc/passwd; mv /etc/own /etc/passwd").ok();
    web.vserver("stop", ["--timeout", "1"]);
    // What it writes is elsewhere then.
    web.vserver("start", ["--ephemeral"]).ok();
    web.vserver("quota", ["www", "2M"]).code(1).complains("ephemeral");
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(quota(&web, "www")["limit_bytes"], 1 << 20);
}
