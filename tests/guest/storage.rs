//! As what a guest's files lie on the host: in every form it is the same guest,
//! and with its end nothing of it stays mounted or attached.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::machine;
use tests::same::{differences, furnish};
use tests::{DEADLINE, Guest, Host, Tree, command, eventually, until_cut};

on! { Busybox: [
    a_guest_lies_over_a_snapshot_and_never_changes_it,
    what_others_lie_over_stays,
    a_copy_of_an_overlay_lies_over_the_same,
    an_image_is_a_limit_of_its_own,
    an_image_is_copied_kept_and_put_back,
    an_image_is_never_shown_twice,
    an_image_is_built_whole_or_not_at_all,
    a_killed_guest_leaves_no_image_attached,
    mistakes_change_nothing,
    an_overlay_over_an_overlay_is_refused_with_the_reason,
    users_are_limited_in_an_image_that_keeps_quotas_only,
] }
on! { Bookworm: [a_distribution_works_over_a_snapshot_and_in_an_image] }

pub(super) const MODES: [&str; 3] = ["private", "identity", "host"];

/// What lies beside the guests' roots.
pub(super) fn beside(host: &Host) -> Vec<String> {
    let entries = fs::read_dir(host.paths().roots_dir()).expect("it is there");
    let mut all: Vec<String> =
        entries.map(|entry| entry.expect("it").file_name().to_string_lossy().into()).collect();
    all.sort();
    all
}

/// A guest with a snapshot `v1`, and one that lies over that.
pub(super) fn over<'h>(host: &'h Host, tree: Tree) -> (Guest<'h>, Guest<'h>) {
    let golden = host.guest("golden").tree(tree).build();
    furnish(&golden);
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    let web = another_over(&golden, "web");
    (golden, web)
}

pub(super) fn another_over<'h>(golden: &Guest<'h>, name: &str) -> Guest<'h> {
    let clone = ["clone", golden.name(), name, "--snapshot", "v1", "--storage", "overlay"];
    golden.host().vserver(clone).ok();
    golden.other(name)
}

pub(super) fn snapshot(host: &Host, guest: &str, name: &str) -> PathBuf {
    host.paths().roots_dir().join(".snapshots").join(guest).join(name)
}

/// A guest in an image of 64 MiB.
pub(super) fn in_image<'h>(host: &'h Host, tree: Tree) -> Guest<'h> {
    let golden = host.guest("golden").tree(tree).build();
    furnish(&golden);
    host.vserver(["clone", "golden", "web", "--storage", "image", "--size", "64M"]).ok();
    golden.other("web")
}

/// The loop devices that show files of this host's guests.
pub(super) fn attached(host: &Host) -> Vec<String> {
    machine::loop_files()
        .into_iter()
        .filter(|file| Path::new(file).starts_with(host.prefix()))
        .collect()
}

fn a_guest_lies_over_a_snapshot_and_never_changes_it(tree: Tree) {
    let host = Host::new();
    let (golden, web) = over(&host, tree);
    let base = snapshot(&host, "golden", "v1");
    let other = another_over(&golden, "other");
    for mode in MODES {
        host.vserver(["config", "set", "web", "security.users", mode]).ok();
        web.start();
        other.start();
        web.exec(["hostname"]).ok().says("web\n");
        web.shell(&format!(
            "set -e; cd /srv; cat one two >/dev/null; echo {mode} >one; echo {mode} >new; rm -f link
             mv closed moved; chmod 711 moved; mkdir -p closed; touch -d 2001-01-01 far
             rm -f nothing; mknod nothing p; ln one three-{mode}; mv moved /root/moved-{mode}; rm -r /root/moved-{mode} closed
             cp -a /root closed"
        ))
        .ok();
        // Each sees its own, and both the same blocks of what neither has changed.
        other.shell("cat /srv/one; cat /srv/new").code(1).says("one\n");
        web.vserver("stop", ["--timeout", "1"]);
        web.start();
        web.shell("cat /srv/one /srv/new").ok().says(&format!("{mode}\n{mode}\n"));
        web.vserver("reboot", ["--timeout", "1"]);
        web.shell("cat /srv/one /srv/new").ok().says(&format!("{mode}\n{mode}\n"));
        web.vserver("stop", ["--timeout", "1"]);
        other.vserver("stop", ["--timeout", "1"]);
        assert_eq!(differences(&golden.root(), &base), [""; 0], "{mode}");
    }
    // Files on the disk have the owners that they have inside.
    let own = fs::symlink_metadata(web.root().join("upper/srv/new")).expect("it is there");
    assert_eq!((own.uid(), own.gid()), (0, 0));
}

fn what_others_lie_over_stays(tree: Tree) {
    let host = Host::new();
    let (_, web) = over(&host, tree);
    for refused in [
        ["delete", "golden", "--yes"].as_slice(),
        &["rename", "golden", "silver"],
        &["snapshot", "delete", "golden", "v1", "--yes"],
    ] {
        host.vserver(refused).code(1).complains("guest 'web' lies over");
    }
    web.start();
    web.vserver("stop", ["--timeout", "1"]);
    // It can be made independent.
    host.vserver(["clone", "web", "free", "--storage", "directory"]).ok();
    host.vserver(["delete", "web", "--yes"]).ok();
    host.vserver(["delete", "golden", "--yes"]).ok();
    let free = web.other("free");
    free.start();
    free.shell("cat /srv/one").ok().says("one\n");
    free.vserver("stop", ["--timeout", "1"]);
    assert_eq!(beside(&host), ["free"]);
}

fn a_copy_of_an_overlay_lies_over_the_same(tree: Tree) {
    let host = Host::new();
    let (golden, web) = over(&host, tree);
    web.start();
    web.shell("echo web >/srv/new; rm /srv/one; mv /srv/closed /srv/moved").ok();
    // Frozen meanwhile.
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    web.shell("echo later >/srv/new").ok();
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["clone", "web", "shop"]).ok();
    host.vserver(["clone", "web", "early", "--snapshot", "s1"]).ok();
    for (name, new) in [("shop", "later"), ("early", "web")] {
        let copy = web.other(name);
        assert!(!copy.root().join("upper/bin").exists(), "only what differs is copied");
        copy.start();
        copy.exec(["hostname"]).ok().says(&format!("{name}\n"));
        copy.shell("cat /srv/new; ls -d /srv/moved; cat /srv/one")
            .code(1)
            .says(&format!("{new}\n/srv/moved\n"));
        copy.vserver("stop", ["--timeout", "1"]);
    }
    host.vserver(["snapshot", "restore", "web", "s1", "--yes"]).ok();
    web.start();
    web.shell("cat /srv/new").ok().says("web\n");
    web.vserver("stop", ["--timeout", "1"]);
    // An archive holds all of it.
    let file = host.prefix().join("web.tar.zst");
    host.command(["export", "web"]).arg(&file).output().expect("it runs");
    host.vserver(["import", &file.display().to_string(), "back"]).ok();
    let back = web.other("back");
    assert_eq!(back.read("/srv/new"), "web\n");
    assert!(!back.root().join("srv/one").exists() && back.root().join("srv/two").exists());
    let mut changed = differences(&golden.root().join("bin"), &back.root().join("bin"));
    changed.retain(|path| !path.is_empty());
    assert_eq!(changed, [""; 0]);
    back.start();
    back.vserver("stop", ["--timeout", "1"]);
}

fn an_image_is_a_limit_of_its_own(tree: Tree) {
    let host = Host::new();
    let web = in_image(&host, tree);
    assert_eq!(attached(&host), [""; 0]);
    for mode in MODES {
        host.vserver(["config", "set", "web", "security.users", mode]).ok();
        web.start();
        assert_eq!(attached(&host).len(), 1);
        web.shell("cat /srv/one").ok().says("one\n");
        web.shell("dd if=/dev/zero of=/srv/big bs=1M count=100").code(1).complains("No space left");
        web.shell("rm /srv/big; df -m / | tail -n 1 | awk '{ exit !($2 > 40 && $2 < 64) }'").ok();
        web.vserver("stop", ["--timeout", "1"]);
        assert_eq!(attached(&host), [""; 0], "{mode}");
    }
    let check = Command::new("fsck.ext4").args(["-f", "-n"]).arg(web.root()).output();
    let check = check.expect("fsck runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

fn an_image_is_copied_kept_and_put_back(tree: Tree) {
    let host = Host::new();
    let web = in_image(&host, tree);
    web.start();
    web.shell("echo web >/srv/new").ok();
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    web.shell("echo later >/srv/new").ok();
    host.vserver(["clone", "web", "early", "--snapshot", "s1"]).ok();
    host.vserver(["clone", "web", "shop"]).code(1).complains("is running");
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["clone", "web", "shop"]).ok();
    host.vserver(["clone", "web", "plain", "--storage", "directory"]).ok();
    for (name, new) in [("shop", "later"), ("early", "web"), ("plain", "later")] {
        let copy = web.other(name);
        copy.start();
        copy.exec(["hostname"]).ok().says(&format!("{name}\n"));
        copy.shell("cat /srv/new").ok().says(&format!("{new}\n"));
        copy.vserver("stop", ["--timeout", "1"]);
    }
    let golden = web.other("golden");
    let mut changed =
        differences(&golden.root().join("srv"), &web.other("plain").root().join("srv"));
    changed.retain(|path| path != "new");
    assert_eq!(changed, [""; 0]);
    host.vserver(["snapshot", "restore", "web", "s1", "--yes"]).ok();
    web.start();
    web.shell("cat /srv/new").ok().says("web\n");
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["rename", "web", "site"]).ok();
    let site = web.other("site");
    site.start();
    site.vserver("stop", ["--timeout", "1"]);
    for name in ["site", "shop", "early", "plain", "golden"] {
        host.vserver(["delete", name, "--yes"]).ok();
    }
    assert_eq!(beside(&host), [""; 0]);
}

fn an_image_is_never_shown_twice(tree: Tree) {
    let host = Host::new();
    let web = in_image(&host, tree);
    let losetup = |words: &[&str]| {
        let output = Command::new("losetup").args(words).output().expect("it runs");
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
    };
    let device = losetup(&["--find", "--show", &web.root().display().to_string()]);
    web.vserver("start", [""; 0]).code(1).complains("the image is in use");
    let file = host.prefix().join("web.tar.zst").display().to_string();
    host.vserver(["export", "web", &file]).code(1).complains("the image is in use");
    // A copy of what somebody writes to is none.
    host.vserver(["clone", "web", "shop"]).code(1).complains("the image is in use");
    host.vserver(["snapshot", "create", "web"]).code(1).complains("the image is in use");
    assert_eq!(beside(&host), ["golden", "web"]);
    losetup(&["--detach", &device]);
    web.start();
    web.vserver("stop", ["--timeout", "1"]);
}

fn an_image_is_built_whole_or_not_at_all(tree: Tree) {
    let host = Host::new();
    let archive = tree.archive().display().to_string();
    let build = |name: &str, more: &[&str]| {
        let words = ["build", name, "-m", "template", "--from", &archive, "--storage", "image"];
        host.vserver(words.iter().chain(more))
    };
    let script = host.prefix().join("script");
    fs::write(&script, "#!/bin/sh\necho done >/ran\n").expect("it can be written");
    build("web", &["--size", "64M", "--run-script", &script.display().to_string()]).ok();
    let web = host.guest("other").tree(tree).build().other("web");
    assert_eq!(fs::metadata(web.root()).expect("it is there").mode() & 0o7777, 0o600);
    // Where mkfs leaves out what is no whole group, nothing has to grow.
    build("odd", &["--size", "1025M"]).ok();
    let odd = web.other("odd");
    odd.start();
    odd.vserver("stop", ["--timeout", "1"]);
    host.vserver(["delete", "odd", "--yes"]).ok();
    web.start();
    web.shell("cat /ran; ls /.vserver*").code(1).says("done\n");
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["delete", "web", "other", "--yes"]).ok();
    // Too small for it; its script fails; it has none.
    let big = host.prefix().join("big.tar");
    let large = host.prefix().join("large");
    fs::create_dir(&large).expect("it can be made");
    fs::write(large.join("file"), vec![7; 20 << 20]).expect("it can be written");
    let tar = Command::new("tar").arg("-C").arg(&large).arg("-cf").arg(&big).arg(".").status();
    assert!(tar.expect("tar runs").success());
    let big = big.display().to_string();
    let words =
        ["build", "web", "-m", "template", "--from", &big, "--storage", "image", "--size", "16M"];
    host.vserver(words).code(1).complains("No space left");
    fs::write(&script, "#!/bin/sh\nexit 3\n").expect("it can be written");
    build("web", &["--size", "64M", "--run-script", &script.display().to_string()]).code(1);
    build("web", &[]).code(2).complains("--size");
    assert_eq!(beside(&host), [""; 0]);
    assert_eq!(attached(&host), [""; 0]);
}

fn a_killed_guest_leaves_no_image_attached(tree: Tree) {
    let host = Host::new();
    let web = in_image(&host, tree);
    web.start();
    web.kill_supervisor();
    web.shell("echo on >/srv/new").ok();
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(attached(&host), [""; 0]);
    web.start();
    // Nor does a snapshot that is killed just when the file system in it is frozen for it.
    web.shell("dd if=/dev/urandom of=/srv/large bs=1M count=32").ok();
    let root = format!("/proc/{}/root", web.init_pid());
    until_cut(|| {
        let mut making = host.command(["snapshot", "create", "web", "cut"]);
        let mut making = making.spawn().expect("it runs");
        let is_at_work = eventually(DEADLINE, "the guest stands still", || {
            let has_ended = making.try_wait().expect("it is ours").is_some();
            (has_ended || web.status().state == "paused").then_some(!has_ended)
        });
        if is_at_work {
            let mut freeze = Command::new("fsfreeze");
            command::run(freeze.args(["--freeze", &root]), DEADLINE);
            making.kill().expect("it is ours");
        }
        let whole = making.wait().expect("it ends").success();
        eventually(DEADLINE, "it goes on", || (web.status().state == "running").then_some(()));
        web.shell("echo on >/srv/new").ok();
        if whole {
            host.vserver(["snapshot", "delete", "web", "cut", "--yes"]).ok();
        }
        is_at_work
    });
    let status = web.status();
    for pid in [status.supervisor_pid, status.keeper_pid, status.init_pid] {
        let pid = nix::unistd::Pid::from_raw(pid.expect("it runs"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it is ours");
    }
    eventually(DEADLINE, "nothing shows the image", || attached(&host).is_empty().then_some(()));
    web.start();
    web.shell("cat /srv/new").ok().says("on\n");
    web.vserver("stop", ["--timeout", "1"]);
    assert_eq!(attached(&host), [""; 0]);
}

fn mistakes_change_nothing(tree: Tree) {
    let host = Host::new();
    let golden = host.guest("golden").tree(tree).build();
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    let clone = |more: &[&str]| host.vserver(["clone", "golden", "web"].iter().chain(more));
    clone(&["--storage", "overlay"]).code(2).complains("--snapshot");
    clone(&["--storage", "image"]).code(2).complains("--size");
    clone(&["--storage", "image", "--size", "4K"]).code(2).complains("16 MiB");
    clone(&["--size", "64M"]).code(2).complains("--storage image");
    clone(&["--snapshot", "v2"]).code(1).complains("no snapshot 'v2'");
    let set = |key: &str, value: &str| host.vserver(["config", "set", "golden", key, value]);
    set("storage.kind", "overlay").code(1).complains("storage.base");
    set("storage.base", "/base").code(1).complains("overlay");
    set("storage.kind", "tape").code(2).complains("tape");
    assert_eq!(beside(&host), [".snapshots", "golden"]);
    // What is no image is none.
    set("storage.kind", "image").code(1).complains("is a directory");
    golden.start();
    golden.vserver("stop", ["--timeout", "1"]);
}

fn an_overlay_over_an_overlay_is_refused_with_the_reason(tree: Tree) {
    let host = Host::new();
    let roots = host.paths().roots_dir();
    let below = ["lower", "upper", "work"].map(|name| host.prefix().join(name));
    for directory in below.iter().chain([&roots]) {
        fs::create_dir_all(directory).expect("it can be made");
    }
    let [lower, upper, work] = below.map(|path| path.display().to_string());
    // As a container has it for its root.
    let mut mount = Command::new("mount");
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    mount.args(["-t", "overlay", "overlay", "-o", &options]).arg(&roots);
    command::run(&mut mount, DEADLINE).ok();
    let golden = host.guest("golden").tree(tree).set("security.users", "identity").build();
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    let words = ["clone", "golden", "web", "--snapshot", "v1", "--storage", "overlay"];
    host.vserver(words).code(1).complains("no overlay itself");
    golden.vserver("start", ["--ephemeral"]).code(1).complains("no overlay itself");
    assert_eq!(beside(&host).iter().filter(|name| *name == "web").count(), 0);
    host.vserver(["delete", "golden", "--yes"]);
    command::run(Command::new("umount").arg(&roots), DEADLINE).ok();
}

fn a_distribution_works_over_a_snapshot_and_in_an_image(tree: Tree) {
    let host = Host::new();
    let golden = host.guest("golden").tree(tree).build();
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    let web = another_over(&golden, "web");
    host.vserver(["clone", "golden", "image", "--storage", "image", "--size", "1G"]).ok();
    let image = golden.other("image");
    for guest in [&web, &image] {
        guest.start();
        guest.wait_for_process("sshd");
        guest.exec(["apt-get", "check"]).ok();
        // The package manager replaces, links and moves files as it likes.
        guest.shell("dpkg-divert --local --rename --divert /usr/bin/less2 --add /usr/bin/env").ok();
        guest.shell("test -z \"$(dpkg --audit)\"").ok();
        guest.exec(["mv", "/usr/share/doc", "/usr/share/cod"]).ok();
        guest.stop();
        guest.start();
        guest.shell("ls -d /usr/share/cod /usr/bin/less2").ok();
        guest.stop();
    }
}

fn users_are_limited_in_an_image_that_keeps_quotas_only(tree: Tree) {
    let host = Host::new();
    let (golden, over) = over(&host, tree);
    for guest in [&golden, &over] {
        let refused = guest.vserver("quota", ["www", "1M"]).code(1);
        refused.complains("one account for all users").complains("--storage image");
    }
    host.vserver(["clone", "golden", "image", "--storage", "image", "--size", "64M"]).ok();
    let image = golden.other("image");
    // Whether it was made with quotas is up to the kernel.
    let tune = |features: &str| {
        let mut tune = Command::new("tune2fs");
        command::run(tune.args(["-O", features]).arg(image.root()), DEADLINE).ok();
    };
    let mut list = Command::new("tune2fs");
    let about = command::run(list.arg("-l").arg(image.root()), DEADLINE).ok().stdout;
    let features = about.lines().find(|line| line.starts_with("Filesystem features:"));
    let can = features.expect("it has some").split_whitespace().any(|word| word == "quota");
    tune("^quota");
    let refused = image.vserver("quota", [""; 0]).code(1).complains("keeps no quotas of users");
    // With quotas that the kernel hasn't it couldn't be mounted.
    let remedies = ["tune2fs -O quota", "modprobe quota_v2"];
    assert_eq!(remedies.map(|remedy| refused.stderr.contains(remedy)), [can, !can], "{refused}");
    image.start();
    image.vserver("quota", [""; 0]).code(1).complains("keeps no quotas of users");
    image.vserver("stop", ["--timeout", "1"]);
}
