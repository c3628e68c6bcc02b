//! `vserver build --force`: a guest of that name is set aside, if nobody needs it;
//! and builds of one guest wait for each other.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tests::{Finished, Guest, Host, Tree, command};
use vserver::runtime::Lock;

on! { Busybox: [
    a_guest_is_set_aside_when_it_is_down_and_nothing_needs_it,
    a_root_that_is_a_mount_point_is_told_before_the_work,
    builds_of_one_guest_wait_for_each_other,
] }

fn force(guest: &Guest<'_>, tree: Tree) -> Finished {
    let mut build = guest.command("build", ["--force", "-m", "template", "--from"]);
    command::run(build.arg(tree.archive()), tests::DEADLINE)
}

/// What lies beside its root.
fn beside(guest: &Guest<'_>) -> Vec<String> {
    let entries = fs::read_dir(guest.host().paths().roots_dir()).expect("it is there");
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn a_guest_is_set_aside_when_it_is_down_and_nothing_needs_it(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).set("description", "the old one").build();
    fs::write(web.root().join("srv/mark"), "the old one").expect("it can be written");
    web.start();
    let refused = force(&web, tree).code(1);
    refused.complains("cannot set guest 'web' aside: guest 'web' is running");
    assert!(web.is_running());
    web.stop();
    host.vserver(["snapshot", "create", "web", "s1"]).ok();
    let refused = force(&web, tree).code(1).complains("cannot set guest 'web' aside");
    refused.complains("it has snapshots").complains("vserver rename web OTHER");
    assert_eq!(beside(&web), [".snapshots", "web"]);
    assert!(web.root().join("srv/mark").exists());
    host.vserver(["snapshot", "delete", "web", "s1", "--yes"]).ok();

    let built = force(&web, tree).ok();
    assert_eq!(built.stderr.matches("the old one is now").count(), 2, "{built}");
    let [new, old] = &*beside(&web) else { panic!("{:?}", beside(&web)) };
    assert!(new == "web" && old.starts_with("web.~"), "{new} {old}");
    assert!(!web.root().join("srv/mark").exists());
    assert!(host.paths().roots_dir().join(old).join("srv/mark").exists());
    let text = host.vserver(["config", "show", "web"]).ok().stdout;
    assert!(!text.contains("the old one"), "{text}");
    web.start().stop();
}

fn a_root_that_is_a_mount_point_is_told_before_the_work(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let mut mount = Command::new("mount");
    command::run(mount.args(["-t", "tmpfs", "web"]).arg(web.root()), tests::DEADLINE).ok();
    let refused = force(&web, tree);
    let umount = Command::new("umount").arg(web.root()).status();
    assert!(umount.is_ok_and(|ended| ended.success()), "it can't be unmounted");
    refused
        .code(1)
        .complains("cannot set guest 'web' aside: something is mounted")
        .complains("umount");
    assert_eq!(beside(&web), ["web"]);
    force(&web, tree).ok();
}

fn builds_of_one_guest_wait_for_each_other(tree: Tree) {
    let host = Host::new();
    let path = host.paths().lock(&"web".parse().expect("a name"));
    let lock = Lock::wait(&path).expect("it can be locked");
    let build = || {
        let mut build = host.command(["build", "web", "-m", "template", "--from"]);
        build.arg(tree.archive()).stdin(Stdio::null()).stdout(Stdio::null());
        build.stderr(Stdio::piped()).spawn().expect("it can be run")
    };
    let both = [build(), build()];
    thread::sleep(Duration::from_millis(700));
    let roots = host.paths().roots_dir();
    assert_eq!(fs::read_dir(&roots).map_or(0, Iterator::count), 0, "one has begun");
    drop(lock);
    let ends = both.map(|build| build.wait_with_output().expect("it ends"));
    let codes = ends.each_ref().map(|end| end.status.code());
    assert!(matches!(codes, [Some(0), Some(1)] | [Some(1), Some(0)]), "{codes:?}");
    let refused = ends.iter().find(|end| !end.status.success()).expect("one");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("guest 'web' exists"), "{said}");
    assert_eq!(fs::read_dir(roots).expect("it is there").count(), 1);
    host.vserver(["start", "web"]).ok();
    host.vserver(["stop", "web"]).ok();
}
