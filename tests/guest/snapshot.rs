//! `vserver snapshot`: what a guest was can be had again, and a guest that runs
//! stands still while it is copied, and not a moment longer.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::same::{differences, furnish};
use tests::{DEADLINE, Guest, Host, Tree, command, eventually, until_cut};

on! { Busybox: [
    a_guest_becomes_what_it_was,
    one_that_runs_stands_still_meanwhile,
    a_snapshot_that_is_cut_short_lets_the_guest_go_on,
    what_was_copied_while_the_guest_went_on_is_no_snapshot,
    mistakes_change_nothing,
    a_dry_run_says_what_would_be_and_changes_nothing,
    snapshots_go_with_their_guest,
    what_a_link_leads_to_is_put_back_and_goes,
    what_is_immutable_goes_with_its_guest,
    what_is_mounted_in_a_root_keeps_it,
] }

fn names(host: &Host) -> Vec<String> {
    let listed = host.vserver(["snapshot", "list", "web", "--json"]).ok();
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("it is JSON");
    let all = listed.as_array().expect("it is a list").iter();
    all.map(|one| one["name"].as_str().expect("it has a name").to_owned()).collect()
}

/// What lies beside the guests' roots.
fn beside(host: &Host) -> Vec<String> {
    let entries = fs::read_dir(host.paths().roots_dir()).expect("it is there");
    let mut all: Vec<String> =
        entries.map(|entry| entry.expect("it").file_name().to_string_lossy().into()).collect();
    all.sort();
    all
}

fn a_guest_becomes_what_it_was(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    furnish(&web);
    host.vserver(["snapshot", "list", "web"]).ok().says("");
    host.vserver(["snapshot", "create", "web", "before"]).ok();
    let copy = host.paths().roots_dir().join(".snapshots/web/before");
    assert_eq!(differences(&web.root(), &copy), [""; 0]);
    web.start();
    web.shell("rm -r /etc; echo changed >/srv/one; echo new >/srv/new");
    web.vserver("stop", ["--timeout", "1"]);
    host.vserver(["snapshot", "restore", "web", "before", "--yes"]).ok();
    assert_eq!(differences(&copy, &web.root()), [""; 0]);
    web.start();
    web.shell("cat /srv/one").ok().says("one\n");
    web.stop();
    assert_eq!(names(&host), ["before"]);
    host.vserver(["snapshot", "create", "web"]).ok();
    let listed = host.vserver(["snapshot", "list", "web"]).ok();
    assert!(listed.stdout.starts_with("SNAPSHOT") && listed.stdout.contains("stopped"), "{listed}");
    assert_eq!(names(&host).len(), 2);
    for name in names(&host) {
        host.vserver(["snapshot", "delete", "web", &name, "--yes"]).ok();
    }
    assert_eq!(beside(&host), ["web"]);
}

fn a_dry_run_says_what_would_be_and_changes_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let would =
        |words: &[&str]| host.vserver(["snapshot"].iter().chain(words).chain(&["--dry-run"]));
    let (root, kept) = (web.root(), host.paths().roots_dir().join(".snapshots/web"));
    let (root, kept) = (root.display(), kept.display());
    let made = |name: &str| {
        format!(
            "would copy '{root}' to '{kept}/{name}'\nwould describe that in '{kept}/{name}.toml'\n"
        )
    };
    would(&["create", "web", "one"]).ok().says(&made("one"));
    assert_eq!(beside(&host), ["web"]);
    host.vserver(["snapshot", "create", "web", "one"]).ok();
    would(&["create", "web", "one"]).code(1).complains("a snapshot 'one' already");
    web.write("/etc/new", "", 0o644);
    let put_back = format!("would replace '{root}' by a copy of '{kept}/one'\n");
    would(&["restore", "web", "one"]).ok().says(&put_back);
    assert!(web.root().join("etc/new").exists());
    web.start();
    would(&["restore", "web", "one"]).code(1).complains("is running");
    would(&["create", "web", "two"]).ok().says(&made("two"));
    web.stop();
    let gone = format!("would delete '{kept}/one'\nwould delete '{kept}/one.toml'\n");
    would(&["delete", "web", "one"]).ok().says(&gone);
    for verb in ["restore", "delete"] {
        would(&[verb, "web", "two"]).code(1).complains("no snapshot 'two'");
    }
    assert_eq!(names(&host), ["one"]);
}

/// One that counts in two files, in turn. Between these comes one that takes longer to
/// copy than a round.
fn counting(guest: &Guest<'_>) {
    guest.write(
        "/etc/init.d/rcS",
        "#!/bin/sh\n(i=0; while :; do i=$((i + 1)); echo $i >/srv/a; echo $i >/srv/z; done) &\n",
        0o755,
    );
    guest.start();
    eventually(DEADLINE, "it counts", || {
        fs::read_to_string(guest.root().join("srv/z")).ok().filter(|text| text.len() > 2)
    });
}

fn one_that_runs_stands_still_meanwhile(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.write("/srv/large", &"x".repeat(1 << 25), 0o644);
    counting(&web);
    let number = |text: String| text.trim().parse::<u64>().unwrap_or(0);
    for round in 0..5 {
        let name = format!("s{round}");
        host.vserver(["snapshot", "create", "web", &name]).ok();
        let copy = host.paths().roots_dir().join(".snapshots/web").join(&name).join("srv");
        let read = |file| number(fs::read_to_string(copy.join(file)).expect("it is there"));
        // A file is empty for a moment while it is written.
        let (a, z) = (read("a"), read("z"));
        assert!(a == z || a == z + 1 || a == 0 || z == 0, "{a} and {z} are of two moments");
        assert_eq!(web.status().state, "running");
    }
    let before = web.read("/srv/z");
    eventually(DEADLINE, "it counts on", || (web.read("/srv/z") != before).then_some(()));
    // One that was paused stays so.
    host.vserver(["pause", "web"]).ok();
    host.vserver(["snapshot", "create", "web", "paused"]).ok();
    assert_eq!(web.status().state, "paused");
    host.vserver(["resume", "web"]).ok();
    web.vserver("stop", ["--timeout", "1"]);
}

fn a_snapshot_that_is_cut_short_lets_the_guest_go_on(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // Long enough to be met at work.
        let large = fs::File::create(web.root().join("srv/large")).expect("it can be made");
        large.set_len(0).expect("it is ours");
        web.shell("dd if=/dev/urandom of=/srv/large bs=1M count=96").ok();
        until_cut(|| {
            let mut making =
                host.command(["snapshot", "create", "web", "cut"]).spawn().expect("it runs");
            eventually(DEADLINE, "the guest stands still", || {
                let ended = making.try_wait().expect("it is ours").is_some();
                (ended || web.status().state == "paused").then_some(())
            });
            let _ = kill(Pid::from_raw(making.id().cast_signed()), signal);
            let whole = making.wait().expect("it ends").success();
            eventually(DEADLINE, "it goes on", || (web.status().state == "running").then_some(()));
            web.shell("true").ok();
            assert_eq!(names(&host).is_empty(), !whole, "{signal}");
            if whole {
                host.vserver(["snapshot", "delete", "web", "cut", "--yes"]).ok();
            }
            !whole
        });
    }
    // What the killed one has left goes with the next.
    host.vserver(["snapshot", "create", "web", "whole"]).ok();
    host.vserver(["snapshot", "delete", "web", "whole", "--yes"]).ok();
    assert_eq!(beside(&host), ["web"]);
    web.stop();
}

/// As it does when its supervisor is killed: the next one knows of nobody for whom it
/// stands still.
fn what_was_copied_while_the_guest_went_on_is_no_snapshot(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    web.shell("dd if=/dev/urandom of=/srv/large bs=1M count=96").ok();
    until_cut(|| {
        let mut making = host.command(["snapshot", "create", "web", "cut"]);
        let mut making = making.stderr(Stdio::piped()).spawn().expect("it runs");
        let pid = Pid::from_raw(making.id().cast_signed());
        let is_at_work = eventually(DEADLINE, "the guest stands still", || {
            let has_ended = making.try_wait().expect("it is ours").is_some();
            (has_ended || web.status().state == "paused").then_some(!has_ended)
        });
        if is_at_work {
            kill(pid, Signal::SIGSTOP).expect("it is ours");
        }
        web.kill_supervisor();
        web.shell("true").ok();
        let _ = kill(pid, Signal::SIGCONT);
        let end = making.wait_with_output().expect("it ends");
        if end.status.success() {
            host.vserver(["snapshot", "delete", "web", "cut", "--yes"]).ok();
            return false;
        }
        let said = String::from_utf8_lossy(&end.stderr).into_owned();
        assert_eq!(end.status.code(), Some(1), "{said}");
        assert!(said.contains("guest 'web' went on while it was copied"), "{said}");
        true
    });
    assert_eq!(names(&host), [""; 0]);
    web.stop();
}

fn mistakes_change_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    host.vserver(["snapshot", "create", "nobody"]).code(5);
    host.vserver(["snapshot", "create", "web", "../x"]).code(2);
    host.vserver(["snapshot", "restore", "web", "none", "--yes"]).code(1).complains("no snapshot");
    host.vserver(["snapshot", "delete", "web", "none", "--yes"]).code(1).complains("no snapshot");
    host.vserver(["snapshot", "create", "web", "one"]).ok();
    host.vserver(["snapshot", "create", "web", "one"]).code(1).complains("already");
    host.vserver(["snapshot", "restore", "web", "one"]).code(2).complains("without '--yes'");
    host.vserver(["snapshot", "delete", "web", "one"]).code(2).complains("without '--yes'");
    web.start();
    let restore = ["snapshot", "restore", "web", "one", "--yes"];
    host.vserver(restore).code(1).complains("'web' is running");
    web.stop();
    assert_eq!(names(&host), ["one"]);
}

fn snapshots_go_with_their_guest(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    host.vserver(["snapshot", "create", "web", "one"]).ok();
    host.vserver(["rename", "web", "shop"]).ok();
    let listed = host.vserver(["snapshot", "list", "shop"]).ok();
    assert!(listed.stdout.contains("one"), "{listed}");
    host.vserver(["snapshot", "restore", "shop", "one", "--yes"]).ok();
    let would = host.vserver(["delete", "shop", "--dry-run"]).ok();
    assert!(would.stdout.contains(".snapshots/shop"), "{would}");
    host.vserver(["delete", "shop", "--yes"]).ok();
    assert_eq!(beside(&host), [""; 0]);
    drop(web);
}

/// An administrator has given it another disk.
fn what_a_link_leads_to_is_put_back_and_goes(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let big = host.prefix().join("big");
    fs::create_dir(&big).expect("it can be made");
    fs::set_permissions(&big, Permissions::from_mode(0o700)).expect("it is ours");
    fs::rename(web.root(), big.join("files")).expect("it is ours");
    symlink(big.join("files"), web.root()).expect("it can be made");
    let in_big = || fs::read_dir(&big).expect("it is there").count();
    web.start();
    web.shell("echo before >/srv/one").ok();
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    web.shell("echo after >/srv/one").ok();
    web.stop();
    host.vserver(["snapshot", "restore", "web", "s1", "--yes"]).ok();
    assert_eq!(fs::read(big.join("files/srv/one")).expect("it is there"), b"before\n");
    assert!(web.root().is_symlink());
    assert_eq!((in_big(), beside(&host)), (1, vec![".snapshots".into(), "web".into()]));
    let told = host.vserver(["delete", "web", "--dry-run"]).ok();
    assert!(told.stdout.contains(&format!("'{}'", big.join("files").display())), "{told}");
    host.vserver(["delete", "web", "--yes"]).ok().says("guest 'web' is deleted\n");
    assert_eq!((in_big(), beside(&host)), (0, vec![]));
    host.vserver(["status", "web"]).code(5);
}

/// Of a file that has a name elsewhere too, only this one goes.
fn what_is_immutable_goes_with_its_guest(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let (srv, elsewhere) = (web.root().join("srv"), host.prefix().join("elsewhere"));
    let deep = (0..120).fold(srv.join("fixed"), |path, _| path.join("d"));
    fs::create_dir_all(&deep).expect("it can be made");
    for path in [srv.join("one"), srv.join("log"), deep.join("file")] {
        fs::write(path, "x").expect("it can be written");
    }
    fs::hard_link(srv.join("one"), &elsewhere).expect("it can be made");
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    let chattr = |flag: &str, path: &Path| {
        command::run(Command::new("chattr").arg(flag).arg(path), DEADLINE).ok();
    };
    chattr("+a", &srv.join("log"));
    chattr("+i", &elsewhere);
    let fixed = |root: &Path| {
        command::run(Command::new("chattr").args(["-R", "+i"]).arg(root), DEADLINE).ok();
    };
    fixed(&srv.join("fixed"));
    host.vserver(["snapshot", "restore", "web", "s1", "--yes"]).ok();
    assert_eq!(beside(&host), [".snapshots", "web"]);
    fixed(&srv.join("fixed"));
    // Its root itself stays where it is, and all else that the guest has with it.
    chattr("+i", &web.root());
    host.vserver(["delete", "web", "--yes"]).code(4).complains("cannot remove");
    assert_eq!(names(&host), ["s1"]);
    assert_eq!(beside(&host), [".snapshots", "web"]);
    chattr("-i", &web.root());
    host.vserver(["delete", "web", "--yes"]).ok();
    assert_eq!(beside(&host), [""; 0]);
    let flags = command::run(Command::new("lsattr").arg(&elsewhere), DEADLINE).ok().stdout;
    assert!(flags.starts_with("----i"), "{flags}");
    chattr("-i", &elsewhere);
}

fn what_is_mounted_in_a_root_keeps_it(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    fs::write(web.root().join("srv/one"), "before").expect("it can be written");
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    fs::write(web.root().join("srv/one"), "after").expect("it can be written");
    let (roots, elsewhere) = (host.paths().roots_dir(), host.prefix().join("elsewhere"));
    for is_elsewhere in [false, true] {
        if is_elsewhere {
            fs::rename(&roots, &elsewhere).expect("it is ours");
            symlink(&elsewhere, &roots).expect("it can be made");
        }
        let srv = web.root().join("srv");
        let mounted = Mounted::on(&srv);
        for words in
            [&["snapshot", "restore", "web", "s1", "--yes"][..], &["delete", "web", "--yes"]]
        {
            host.vserver(words).code(1).complains("something is mounted on '");
        }
        drop(mounted);
        let one = fs::read(web.root().join("srv/one")).expect("it is there");
        assert_eq!((&*one, names(&host)), (&b"after"[..], vec!["s1".to_owned()]));
        assert_eq!(beside(&host), [".snapshots", "web"]);
    }
    host.vserver(["snapshot", "restore", "web", "s1", "--yes"]).ok();
    host.vserver(["delete", "web", "--yes"]).ok();
}

/// Something of the host's, mounted in a guest's root.
struct Mounted<'p>(&'p Path);

impl<'p> Mounted<'p> {
    fn on(place: &'p Path) -> Self {
        command::run(Command::new("mount").args(["--bind", "/usr"]).arg(place), DEADLINE).ok();
        Self(place)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
