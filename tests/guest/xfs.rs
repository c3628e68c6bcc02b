//! xfs, in images and below guests' directories: judged by its own tools.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::statvfs::statvfs;
use tests::same::{differences, furnish};
use tests::{DEADLINE, Disk, Guest, Host, Tree, command};

use super::storage::{attached, beside};
use super::unify::{bytes, is_shared, pieces};

on! { Busybox: [
    an_image_has_xfs_if_that_is_wanted,
    an_image_of_xfs_grows_and_never_shrinks,
    an_image_of_xfs_is_made_whole_or_not_at_all,
    what_is_in_an_image_is_in_its_place_before_it_is_copied,
    a_clone_on_xfs_shares_blocks_until_one_writes,
    images_on_xfs_share_blocks_and_are_mounted_all_the_same,
] }

/// A guest in an image of xfs.
fn in_image<'h>(host: &'h Host, tree: Tree) -> Guest<'h> {
    let golden = host.guest("golden").tree(tree).build();
    furnish(&golden);
    in_image_of(host, &golden)
}

/// The same, with these files.
fn in_image_of<'h>(host: &'h Host, golden: &Guest<'h>) -> Guest<'h> {
    let image = ["--storage", "image", "--filesystem", "xfs", "--size", "300M"];
    host.vserver(["clone", "golden", "web"].iter().chain(&image)).ok();
    golden.other("web")
}

#[track_caller]
fn is_whole(image: &Path) {
    command::run(Command::new("xfs_repair").arg("-n").arg(image), DEADLINE).ok();
}

/// Megabytes that a guest has, as df(1) inside says.
fn megabytes(guest: &Guest<'_>) -> u64 {
    let shown = guest.shell("grep -q ' / xfs ' /proc/mounts && df -m / | tail -n 1").ok();
    let size = shown.stdout.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    size.unwrap_or_else(|| panic!("{shown}"))
}

fn an_image_has_xfs_if_that_is_wanted(tree: Tree) {
    let host = Host::new();
    let web = in_image(&host, tree);
    // A copy of all of it has the same id, and runs beside it.
    host.vserver(["clone", "web", "shop"]).ok();
    let shop = web.other("shop");
    for guest in [&web, &shop] {
        guest.start();
        assert!((200..300).contains(&megabytes(guest)));
    }
    web.shell("dd if=/dev/zero of=/srv/big bs=1M count=300").code(1).complains("No space left");
    web.shell("rm /srv/big; echo web >/srv/new").ok();
    // Of one that runs, too, and nobody's journal is lost.
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    for guest in [&web, &shop] {
        guest.vserver("stop", ["--timeout", "1"]);
        is_whole(&guest.root());
    }
    host.vserver(["clone", "web", "early", "--snapshot", "s1"]).ok();
    assert_eq!(web.other("early").shell("cat /srv/new").ok().stdout, "web\n");
    // Elsewhere it has the same files, with all that they have.
    let file = host.prefix().join("web.tar.zst").display().to_string();
    host.vserver(["export", "web", &file]).ok();
    host.vserver(["import", &file, "back"]).ok();
    let (golden, back) = (web.other("golden"), web.other("back"));
    let mut changed = differences(&golden.root().join("srv"), &back.root().join("srv"));
    changed.retain(|path| path != "new");
    assert_eq!(changed, [""; 0]);
    assert_eq!(attached(&host), [""; 0]);
}

fn an_image_of_xfs_grows_and_never_shrinks(tree: Tree) {
    let host = Host::new();
    let web = in_image(&host, tree);
    // The last pages of it are too few for a group, and stay out.
    web.vserver("limits", ["disk=400M"]).ok();
    host.vserver(["config", "set", "web", "limits.disk", "629276672"]).ok();
    for _ in 0..2 {
        web.start();
        assert!((500..=600).contains(&megabytes(&web)));
        web.shell("dd if=/dev/zero of=/srv/big bs=1M count=450").ok();
        web.vserver("stop", ["--timeout", "1"]);
        is_whole(&web.root());
    }
    let refused = web.vserver("limits", ["disk=300M"]).code(1);
    refused.complains("can't become shorter");
}

fn an_image_of_xfs_is_made_whole_or_not_at_all(tree: Tree) {
    let host = Host::new();
    host.guest("golden").tree(tree).build();
    let words = ["clone", "golden", "web", "--filesystem", "xfs"];
    let clone = |more: &[&str]| host.command(words.iter().chain(more));
    let refused = |more: &[&str], why| {
        command::run(&mut clone(more), DEADLINE).code(2).complains(why);
    };
    refused(&["--storage", "image", "--size", "299M"], "300 MiB at least");
    refused(&["--storage", "image"], "--size");
    refused(&["--storage", "directory"], "'--filesystem' goes with '--storage image'");
    let mut without_mkfs = clone(&["--storage", "image", "--size", "300M"]);
    let failed = command::run(without_mkfs.env("PATH", host.prefix()), DEADLINE).code(1);
    failed.complains("apt-get install xfsprogs");
    assert_eq!(beside(&host), ["golden"]);
    assert_eq!(attached(&host), [""; 0]);
    let archive = tree.archive().display().to_string();
    let build = ["build", "web", "-m", "template", "--from", &archive, "--storage", "image"];
    host.vserver(build.iter().chain(&["--size", "1025M", "--filesystem", "xfs"])).ok();
    let (image, roots) = (host.paths().roots_dir().join("web"), host.paths().roots_dir());
    is_whole(&image);
    let taken = command::run(Command::new("du").arg("-sm").arg(&image), DEADLINE).ok();
    let taken: u64 =
        taken.stdout.split('\t').next().and_then(|word| word.parse().ok()).expect("MB");
    assert!(taken < 100, "{taken} MB of {roots:?} are taken by what nobody wrote");
}

/// What is in the journal alone would go to its place meanwhile.
fn what_is_in_an_image_is_in_its_place_before_it_is_copied(tree: Tree) {
    let host = Host::new();
    let xfs = in_image(&host, tree);
    let ext4 = xfs.other("small");
    host.vserver(["clone", "golden", "small", "--storage", "image", "--size", "32M"]).ok();
    let [copy, mounted] = ["copy", "mounted"].map(|name| host.prefix().join(name));
    fs::create_dir(&mounted).expect("it can be made");
    for (guest, options) in [(xfs, "loop,ro,norecovery,nouuid"), (ext4, "loop,ro,noload")] {
        guest.start();
        guest.shell("mkdir /srv/new; echo new >/srv/new/file; sync").ok();
        host.vserver(["snapshot", "create", guest.name(), "s1"]).ok();
        // As it lies on the disk, with no look at the journal.
        fs::copy(guest.root(), &copy).expect("it can be copied");
        let mut mount = Command::new("mount");
        mount.args(["-o", options]).arg(&copy).arg(&mounted);
        command::run(&mut mount, DEADLINE).ok();
        let found = fs::read(mounted.join("srv/new/file"));
        command::run(Command::new("umount").arg(&mounted), DEADLINE).ok();
        assert_eq!(found.expect("it is in its place"), b"new\n", "{}", guest.name());
        // It goes on.
        guest.shell("echo more >/srv/more; sync").ok();
        guest.vserver("stop", ["--timeout", "1"]);
    }
    is_whole(&host.paths().roots_dir().join("web"));
}

fn a_clone_on_xfs_shares_blocks_until_one_writes(tree: Tree) {
    let host = Host::new();
    let disk = Disk::xfs(&host, 512);
    let web = host.guest("web").tree(tree).build();
    let big = bytes(9, 64 << 20);
    fs::write(web.root().join("srv/big"), &big).expect("room");
    let free = || {
        command::run(Command::new("sync").arg("-f").arg(disk.path()), DEADLINE).ok();
        let about = statvfs(disk.path()).expect("it is mounted");
        about.blocks_free() * about.fragment_size()
    };
    let before = free();
    host.vserver(["clone", "web", "shop"]).ok();
    let taken = before.saturating_sub(free());
    assert!(taken < 8 << 20, "{taken} bytes are taken");
    let shop = web.other("shop");
    let (ours, theirs) = (web.root().join("srv/big"), shop.root().join("srv/big"));
    assert_eq!(pieces(&ours), pieces(&theirs));
    assert!(is_shared(&ours) && is_shared(&shop.root().join("bin/busybox")));
    // Whoever writes gets blocks of its own.
    shop.shell("printf X | dd of=/srv/big bs=1 seek=5000 conv=notrunc").ok();
    assert!(fs::read(&ours).expect("it is there") == big, "the other guest has changed it");
    assert_eq!(fs::read(&theirs).expect("it is there")[5000], b'X');
    assert!(!is_shared(&theirs));
    drop(disk);
}

/// Since Linux 6.14 what shares blocks on xfs can't be written past the page cache
/// in less than 4096 bytes, and a loop device's blocks become that large.
fn images_on_xfs_share_blocks_and_are_mounted_all_the_same(tree: Tree) {
    let host = Host::new();
    let disk = Disk::xfs(&host, 1024);
    let ext4 = host.guest("golden").tree(tree).build();
    let image = ["clone", "golden", "small", "--storage", "image", "--size", "32M"];
    host.vserver(image).ok();
    let xfs = in_image_of(&host, &ext4);
    let small = ext4.other("small");
    // As mkfs.ext4 makes small ones by itself.
    let hand = ext4.other("hand");
    host.vserver(["clone", "small", "hand"]).ok();
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-b", "1024", "-d"]).arg(ext4.root()).arg(hand.root());
    command::run(&mut mkfs, DEADLINE).ok();
    for guest in [xfs, small, hand] {
        host.vserver(["snapshot", "create", guest.name(), "s1"]).ok();
        // All but what the copy's journal held.
        let pieces = pieces(&guest.root());
        assert!(pieces.iter().any(|(_, shared)| *shared), "{pieces:?}");
        for _ in 0..2 {
            guest.start();
            guest.shell("echo new >/srv/new").ok();
            guest.vserver("stop", ["--timeout", "1"]);
        }
        // Of the same kind, where another one is made.
        if guest.name() == "web" {
            host.vserver(["clone", "web", "bigger", "--size", "310M"]).ok();
            is_whole(&guest.other("bigger").root());
        }
    }
    drop(disk);
}
