//! Guests' roots on btrfs: subvolumes, of which copies are made at once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use tests::same::{differences, furnish};
use tests::{DEADLINE, Disk, Host, Tree, command};

use super::storage::{MODES, another_over, beside, snapshot};

on! { Busybox: [roots_on_btrfs_are_subvolumes, subvolumes_in_a_root_are_copied_and_removed] }
on! { Bookworm: [a_guest_makes_no_subvolumes] }

fn roots_on_btrfs_are_subvolumes(tree: Tree) {
    /// Of a subvolume's root directory (btrfs(5), "Inode").
    const SUBVOLUME: u64 = 256;
    let host = Host::new();
    let disk = Disk::btrfs(&host, 256);
    let is_subvolume = |path: &Path| fs::metadata(path).is_ok_and(|found| found.ino() == SUBVOLUME);
    let web = host.guest("web").tree(tree).build();
    assert!(is_subvolume(&web.root()));
    furnish(&web);
    let made = host.vserver(["snapshot", "create", "web", "v1"]).ok();
    assert!(made.stdout.contains("blocks shared"), "{made}");
    let v1 = snapshot(&host, "web", "v1");
    assert!(is_subvolume(&v1));
    assert_eq!(differences(&web.root(), &v1), [""; 0]);
    for mode in MODES {
        host.vserver(["config", "set", "web", "security.users", mode]).ok();
        web.start();
        web.shell("rm -r /srv/one /srv/closed; echo new >/srv/new").ok();
        host.vserver(["clone", "web", "early", "--snapshot", "v1"]).ok();
        web.vserver("stop", ["--timeout", "1"]);
        // A snapshot of a subvolume has all that chattr(1) has set.
        web.write("/etc/hostname", "web\n", 0o644);
        let (etc, hostname) = (web.root().join("etc"), web.root().join("etc/hostname"));
        chattr("+i", &[&hostname, &etc]);
        let cloned = host.vserver(["clone", "web", "shop"]);
        chattr("-i", &[&hostname, &etc]);
        assert!(cloned.ok().stdout.contains("blocks shared"));
        assert_eq!(web.other("shop").read("/etc/hostname"), "shop\n");
        for (name, there, gone) in [("shop", "new", "one"), ("early", "one", "new")] {
            let copy = web.other(name);
            assert!(is_subvolume(&copy.root()));
            copy.start();
            copy.exec(["hostname"]).ok().says(&format!("{name}\n"));
            copy.shell(&format!("ls /srv/{there}")).ok();
            copy.shell(&format!("ls /srv/{gone}")).code(1);
            copy.vserver("stop", ["--timeout", "1"]);
            host.vserver(["delete", name, "--yes"]).ok();
        }
        host.vserver(["snapshot", "restore", "web", "v1", "--yes"]).ok();
        assert!(is_subvolume(&web.root()));
        assert_eq!(differences(&v1, &web.root()), [""; 0]);
    }
    let over = another_over(&web, "over");
    over.start();
    over.vserver("stop", ["--timeout", "1"]);
    host.vserver(["delete", "over", "web", "--yes"]).ok();
    assert_eq!(beside(&host), [""; 0]);
    drop(disk);
}

fn chattr(sign: &str, paths: &[&Path]) {
    command::run(Command::new("chattr").arg(sign).args(paths), DEADLINE).ok();
}

fn btrfs(words: &[&str], paths: &[&Path]) {
    command::run(Command::new("btrfs").args(words).args(paths), DEADLINE).ok();
}

/// Such roots were made by others.
fn subvolumes_in_a_root_are_copied_and_removed(tree: Tree) {
    let host = Host::new();
    let disk = Disk::btrfs(&host, 256);
    let web = host.guest("web").tree(tree).build();
    let (inside, kept) = (web.root().join("srv/inside"), web.root().join("srv/kept"));
    btrfs(&["subvolume", "create"], &[&inside]);
    fs::create_dir(inside.join("below")).expect("it can be made");
    fs::write(inside.join("below/file"), "inside").expect("it can be written");
    btrfs(&["subvolume", "snapshot", "-r"], &[&inside, &kept]);
    host.vserver(["snapshot", "create", "web", "v1"]).ok();
    assert_eq!(differences(&web.root(), &snapshot(&host, "web", "v1")), [""; 0]);
    host.vserver(["clone", "web", "shop"]).ok();
    assert_eq!(web.other("shop").read("/srv/kept/below/file"), "inside");
    fs::write(inside.join("below/file"), "changed").expect("it can be written");
    host.vserver(["snapshot", "restore", "web", "v1", "--yes"]).ok();
    assert_eq!(web.read("/srv/inside/below/file"), "inside");
    btrfs(&["subvolume", "snapshot", "-r"], &[&web.root(), &web.root().join("again")]);
    host.vserver(["delete", "web", "shop", "--yes"]).ok();
    assert_eq!(beside(&host), [""; 0]);
    drop(disk);
}

/// As on a file system that has none: programs make directories then.
fn a_guest_makes_no_subvolumes(tree: Tree) {
    /// `BTRFS_IOC_SUBVOL_CREATE` and `BTRFS_IOC_SNAP_CREATE` (linux/btrfs.h).
    const OLD: [u32; 2] = [0x5000_940e, 0x5000_9401];
    /// `BTRFS_IOC_SUBVOL_CREATE_V2` and `BTRFS_IOC_SNAP_CREATE_V2`: their
    /// structures have more numbers before the name.
    const NEW: [u32; 2] = [0x5000_9418, 0x5000_9417];
    let host = Host::new();
    let disk = Disk::btrfs(&host, 2048);
    let web = host.guest("web").tree(tree).build();
    let make = |request: u32, numbers: &str| {
        format!(
            "open(D, '<', '/srv') or die 'open'; open(R, '<', '/') or die 'open';
             print ioctl(D, {request}, pack('q{numbers}Z4032', fileno(R){zeros}, 'made')) ? 'made' : $!",
            zeros = ", 0".repeat(numbers.len()),
        )
    };
    // The control: the host can.
    let program = make(OLD[0], "").replace("'/srv'", &format!("'{}'", web.root().display()));
    command::run(Command::new("perl").args(["-e", &program]), DEADLINE).ok().says("made");
    fs::remove_dir(web.root().join("made")).expect("it is there");
    // What nests may do more, and has ids of its own.
    for (nesting, users) in [("true", "private"), ("false", "host")] {
        host.vserver(["config", "set", "web", "security.nesting", nesting]).ok();
        host.vserver(["config", "set", "web", "security.users", users]).ok();
        web.start();
        for (request, numbers) in
            OLD.map(|old| (old, "")).into_iter().chain(NEW.map(|new| (new, "qqqqqq")))
        {
            let said = web.exec(["perl", "-e", &make(request, numbers)]).ok();
            said.says("Inappropriate ioctl for device");
        }
        web.shell("test ! -e /srv/made").ok();
        web.stop();
    }
    drop(disk);
}
