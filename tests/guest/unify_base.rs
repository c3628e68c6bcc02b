//! Guests that have been there for a while are laid over a base: they stay what
//! they are, have one another's files on the disk and in memory once, and are as
//! apart as before.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tests::same::{differences, furnish};
use tests::{DEADLINE, Guest, Host, Tree, command, random};

use super::storage::{beside, snapshot};
use super::unify::{bytes, json, of};
use super::upgrades::{has, install, package};

on! { Busybox: [
    guests_laid_over_a_base_stay_what_they_were,
    who_can_not_be_laid_over_a_base_is_left_as_it_is,
    files_that_can_not_go_are_left_as_they_are,
    a_killed_command_leaves_a_whole_guest,
] }
on! { Bookworm: [packages_are_upgraded_in_a_guest_laid_over_a_base] }

/// A copy that no later change of a guest reaches.
fn copy(host: &Host, guest: &Guest<'_>) -> PathBuf {
    let to = host.prefix().join(format!("before-{}", guest.name()));
    let mut copy = Command::new("cp");
    command::run(copy.args(["-a", "--reflink=never"]).arg(guest.root()).arg(&to), DEADLINE).ok();
    to
}

/// Is it over a base, by its configuration?
fn is_over(guest: &Guest<'_>) -> bool {
    let shown = guest.host().vserver(["config", "show", guest.name(), "--effective"]).ok();
    shown.stdout.contains("kind = \"overlay\"")
}

/// In what a guest differs from a copy, as the kernel puts it together.
#[track_caller]
fn changed(host: &Host, before: &Path, guest: &Guest<'_>, base: &Path) -> Vec<String> {
    if !is_over(guest) {
        return differences(before, &guest.root());
    }
    let at = host.prefix().join("merged");
    fs::create_dir_all(&at).expect("it can be made");
    let layers = format!("lowerdir={}/upper:{}", guest.root().display(), base.display());
    let options = format!("ro,userxattr,{layers}");
    let mut mount = Command::new("mount");
    command::run(mount.args(["-t", "overlay", "-o", &options, "o"]).arg(&at), DEADLINE).ok();
    let found = std::panic::catch_unwind(|| differences(before, &at));
    command::run(Command::new("umount").arg(&at), DEADLINE).ok();
    found.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
}

/// Bytes of the disk that all guests take.
fn taken(host: &Host) -> u64 {
    let mut du = Command::new("du");
    let shown = command::run(du.args(["-s", "-B1"]).arg(host.paths().roots_dir()), DEADLINE).ok();
    shown.stdout.split_whitespace().next().and_then(|it| it.parse().ok()).expect("a number")
}

/// A guest with a snapshot `v1`, and one that was built beside it and differs.
fn two<'h>(host: &'h Host, tree: Tree) -> (Guest<'h>, Guest<'h>) {
    let guests = ["golden", "web"].map(|name| host.guest(name).tree(tree).build());
    for guest in &guests {
        guest.write("/srv/both", &"same\n".repeat(1 << 18), 0o644);
        let line = "cd /srv; mkdir -p kept gone was; echo x >kept/x; echo x >gone/x; echo x >was/x
            touch -d '2001-02-03 04:05:06' both kept/x gone/x was/x kept gone was";
        guest.shell(line).ok();
    }
    let [golden, web] = guests;
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    furnish(&web);
    let line = "cd /srv; rm -r gone was; echo no directory >was; mkdir made; echo y >made/y
        chmod 700 kept; ln both also; ln -sfn elsewhere /etc/hostname-link";
    web.shell(line).ok();
    web.shell("rm /srv/also; echo mine >/etc/motd").ok();
    (golden, web)
}

fn guests_laid_over_a_base_stay_what_they_were(tree: Tree) {
    let host = Host::new();
    let (golden, web) = two(&host, tree);
    let base = snapshot(&host, "golden", "v1");
    let before = [&golden, &web].map(|guest| copy(&host, guest));
    let (took, names) = (taken(&host), beside(&host));
    let would = host.vserver(["unify", "--base", "golden@v1", "--all", "--dry-run"]).ok();
    assert!(would.stdout.contains("would be those of golden@v1"), "{would}");
    assert!(!is_over(&web) && !is_over(&golden), "a dry run has changed something");

    let done = json(&host.vserver(["unify", "--base", "golden@v1", "--all", "--json"]).ok());
    let saved = done["saved_bytes"].as_u64().expect("a number");
    let freed = took - taken(&host);
    // What directories take is more or less.
    assert!(freed.abs_diff(saved) < 1 << 18 && saved > 4 << 20, "{freed} were freed: {done}");
    assert!(of(&done, "web")["left_files"].as_u64() > Some(5), "{done}");
    assert_eq!(beside(&host), names);
    for (guest, before) in [&golden, &web].into_iter().zip(&before) {
        assert!(is_over(guest), "{} isn't over the base", guest.name());
        assert_eq!(changed(&host, before, guest, &base), [""; 0], "of {}", guest.name());
    }
    // Again, and the base stays.
    host.vserver(["unify", "--base", "golden@v1", "web"]).ok().complains("lies over a base");
    host.vserver(["snapshot", "delete", "golden", "v1", "--yes"]).code(1).complains("lies over");

    // In memory once: it is one file that both run.
    let busybox = fs::metadata(base.join("bin/busybox")).expect("it is there");
    for guest in [&golden, &web] {
        guest.start();
        let seen = guest.shell("stat -c %i /bin/busybox").ok();
        assert_eq!(seen.stdout.trim(), busybox.ino().to_string(), "of {}", guest.name());
    }
    // Each has its own as soon as it writes.
    web.shell("echo more >>/srv/both; rm /bin/true; mv /srv/kept /srv/moved").ok();
    golden.shell("test $(wc -c </srv/both) = 1310720 && test -e /srv/kept/x && /bin/true").ok();
    for guest in [&golden, &web] {
        guest.stop();
    }
    assert_eq!(
        changed(&host, &before[0], &golden, &base).iter().find(|it| it.starts_with("srv")),
        None
    );
}

fn who_can_not_be_laid_over_a_base_is_left_as_it_is(tree: Tree) {
    let host = Host::new();
    let (golden, web) = two(&host, tree);
    let bad = host.guest("bad").tree(tree).build();
    for wrong in ["golden", "golden@", "nobody@v1"] {
        assert_ne!(host.vserver(["unify", "--base", wrong, "web"]).code, 0);
    }
    host.vserver(["unify", "--base", "golden@v2", "web"]).code(1).complains("no snapshot 'v2'");
    let both = ["unify", "--base", "golden@v1", "--minimum", "1K", "web"];
    host.vserver(both).code(2);
    golden.start();
    let device = bad.root().join("srv/gone");
    mknod(&device, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(0, 0)).expect("root can");
    let before = copy(&host, &bad);
    let names = beside(&host);
    let done = host.vserver(["unify", "--base", "golden@v1", "golden", "bad", "web"]).code(1);
    let done = done.complains("guest 'golden' is running");
    let done = done.complains("srv/gone' is a device 0:0");
    assert!(is_over(&web) && !is_over(&bad) && !is_over(&golden), "{done}");
    assert_eq!(beside(&host), names);
    assert_eq!(differences(&before, &bad.root()), [""; 0]);
    golden.stop();
    host.vserver(["snapshot", "create", "web", "over"]).ok();
    host.vserver(["unify", "--base", "web@over", "golden"]).code(1).complains("lies over another");
    // One in the base hides nothing.
    host.vserver(["snapshot", "create", "bad", "v1"]).ok();
    let before = copy(&host, &golden);
    host.vserver(["unify", "--base", "bad@v1", "golden"]).ok();
    let base = snapshot(&host, "bad", "v1");
    assert_eq!(changed(&host, &before, &golden, &base), [""; 0]);
    golden.shell("test -e /srv/gone/x").ok();
}

/// What would stay on the disk beside the layer, or be lost.
fn files_that_can_not_go_are_left_as_they_are(tree: Tree) {
    let host = Host::new();
    let [_golden, web] = ["golden", "web"].map(|name| host.guest(name).tree(tree).build());
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    let (before, names) = (copy(&host, &web), beside(&host));
    let file = web.root().join("bin/busybox");
    for flag in ["i", "a"] {
        let chattr = |sign: &str| {
            let mut chattr = Command::new("chattr");
            command::run(chattr.arg(format!("{sign}{flag}")).arg(&file), DEADLINE).ok();
        };
        chattr("+");
        let done = host.vserver(["unify", "--base", "golden@v1", "web"]);
        // Before anything fails, or nobody could remove it.
        chattr("-");
        done.code(1).complains("bin/busybox' is immutable or append-only");
    }
    let elsewhere = host.prefix().join("elsewhere");
    fs::rename(web.root(), &elsewhere).expect("it can be moved");
    symlink(&elsewhere, web.root()).expect("a link");
    host.vserver(["unify", "--base", "golden@v1", "web"]).ok().complains("is a symbolic link");
    assert!(!is_over(&web) && web.root().is_symlink());
    assert_eq!(differences(&before, &elsewhere), [""; 0]);
    assert_eq!(beside(&host), names);
}

/// The system calls by which the layer is made and the old files go.
const BUILD: &str = "mkdir,mkdirat,mknodat,linkat,unlinkat";
/// Those by which it takes its place, and the configuration its own: strace(1)
/// counts each for itself.
const COMMIT: [&str; 2] = ["renameat2", "fsync"];

fn a_killed_command_leaves_a_whole_guest(tree: Tree) {
    let (host, mut random) = (Host::new(), random());
    let (golden, web) = two(&host, tree);
    let base = snapshot(&host, "golden", "v1");
    let (before, names) = (copy(&host, &web), beside(&host));
    let mut moments: Vec<_> = (0..3).map(|_| (BUILD, random.u32(1..200))).collect();
    moments.extend(COMMIT.iter().flat_map(|call| (1..9).map(move |number| (*call, number))));
    let (mut laid, mut ended_by_itself) = (0, "");
    for (calls, number) in moments {
        if calls == ended_by_itself {
            continue;
        }
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        strace.arg("-e").arg(format!("inject={calls}:signal=KILL:when={number}"));
        let unify = host.command(["unify", "--base", "golden@v1", "web"]);
        strace.arg(unify.get_program()).args(unify.get_args());
        for (key, value) in unify.get_envs() {
            strace.env(key, value.expect("none is taken away"));
        }
        let ended = command::run(&mut strace, DEADLINE);
        if ended.code == 0 {
            ended_by_itself = calls;
        }
        assert_eq!(changed(&host, &before, &web, &base), [""; 0], "{number} of {calls}");
        if is_over(&web) {
            laid += 1;
            // As it is, whatever is left to do.
            web.start();
            let config = fs::read_to_string(host.paths().config(&"web".parse().expect("a name")));
            assert!(config.expect("it is there").contains("golden/v1"), "it isn't written");
            web.stop();
            host.vserver(["delete", "web", "--yes"]).ok();
            host.vserver(["clone", "golden", "web", "--storage", "directory"]).ok();
            put_back(&before, &web);
        }
    }
    assert!(laid > COMMIT.len(), "it was never killed after the exchange");
    host.vserver(["unify", "--base", "golden@v1", "web"]).ok();
    assert_eq!(changed(&host, &before, &web, &base), [""; 0]);
    assert_eq!(beside(&host), names);
    let left = fs::read_dir(host.paths().config_dir()).expect("it is there");
    let left = left
        .map(|entry| entry.expect("it").file_name())
        .find(|it| it.to_string_lossy().ends_with(".next"));
    assert_eq!(left, None);
    golden.start().stop();
}

/// Makes the files of a guest those of a copy.
fn put_back(before: &Path, guest: &Guest<'_>) {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAX", "--numeric-ids", "--delete"]).arg(format!("{}/", before.display()));
    command::run(rsync.arg(format!("{}/", guest.root().display())), DEADLINE).ok();
}

fn packages_are_upgraded_in_a_guest_laid_over_a_base(tree: Tree) {
    let host = Host::new();
    let [first, second] = [1, 2].map(|version| package(&host, version));
    let golden = host.guest("golden").tree(tree).build();
    install(&golden, &first);
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    host.vserver(["clone", "golden", "shop"]).ok();
    let shop = golden.other("shop");
    let base = snapshot(&host, "golden", "v1");
    let whole = bytes(9, 1 << 20);
    fs::write(shop.root().join("srv/own"), &whole).expect("room");
    host.vserver(["unify", "--base", "golden@v1", "shop", "golden"]).ok();
    let upper = shop.root().join("upper");
    assert!(!upper.join("usr/bin/dpkg").exists(), "it isn't the base's");
    shop.start();
    // Its names are one file, as they were.
    shop.shell("test /usr/lib/tiny/data -ef /usr/lib/tiny/also").ok();
    has(&shop, &upper, 1);
    install(&shop, &second);
    has(&shop, &upper, 2);
    has(&golden, &golden.root().join("upper"), 1);
    assert!(fs::read(upper.join("srv/own")).expect("it is there") == whole);
    assert!(base.join("usr/lib/tiny/data").exists());
    shop.shell("dpkg --purge tiny && test ! -e /usr/lib/tiny").ok();
    has(&golden, &golden.root().join("upper"), 1);
    shop.stop();
}
