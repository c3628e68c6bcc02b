//! Guests that were killed with their keepers and supervisors, and are started no more:
//! of what they leave on the host the next command that has to do with them leaves nothing.

use std::fs;

use shared::name::GuestName;
use tests::{DEADLINE, Guest, Host, Network, Tree, eventually, until_cut};

on! { Busybox: [
    nothing_is_left_when_it_is_deleted,
    nothing_is_left_when_it_is_renamed,
    nothing_is_left_when_it_is_stopped,
    addresses_that_another_guest_has_by_now_stay,
    a_deletion_that_was_killed_is_finished_by_the_next,
] }

/// How guests are joined to networks: a setting, and addresses. What is left of the
/// first two stays until somebody removes it; the others' links go with their networks,
/// a moment later.
const WAYS: [([&str; 2], [&str; 2]); 4] = [
    (["network.proxy_arp", "br0"], ["192.0.2.10", "2001:db8::10"]),
    (["network.mode", "shared"], ["192.0.2.1", "2001:db8::1"]),
    (["network.bridge", "br0"], ["203.0.113.10/24", "2001:db8:1::10/64"]),
    (["network.parent", "lan1"], ["203.0.113.10/24", "2001:db8:1::10/64"]),
];

/// A host with a bridge, an interface that isn't its port, and addresses of its own.
fn scene() -> (Host, Network) {
    let (here, beside) = Network::with_bridge();
    here.ip("link add lan1 type veth peer name lan2");
    here.ip("link set lan1 up");
    here.ip("address add 192.0.2.1/32 dev lo");
    here.ip("address add 2001:db8::1/128 dev lo nodad");
    (Host::on(here), beside)
}

fn build<'h>(host: &'h Host, name: &str, tree: Tree, way: ([&str; 2], [&str; 2])) -> Guest<'h> {
    let ([key, value], addresses) = way;
    let guest = host.guest(name).tree(tree);
    // Addresses with networks are for guests that are joined to one.
    match addresses[0].contains('/') {
        true => guest.set(key, value).list("network.addresses", &addresses).build(),
        false => guest.list("network.addresses", &addresses).set(key, value).build(),
    }
}

/// Has a guest killed in each way in which it can be joined to a network, and demands
/// that `end` leaves nothing of it.
#[track_caller]
fn killed(tree: Tree, end: impl Fn(&Guest<'_>)) {
    let (host, _beside) = scene();
    for way in WAYS {
        let before = host.network().state();
        let web = build(&host, "web", tree, way);
        web.start();
        web.kill_all();
        let has_run_dir = |name| host.paths().guest_run_dir(&named(name)).exists();
        assert!(has_run_dir("web") && !host.cgroups().is_empty(), "{way:?}");
        assert!(way == WAYS[2] || way == WAYS[3] || host.network().state() != before, "{way:?}");
        end(&web);
        assert_eq!(host.network().state(), before, "{way:?}");
        assert!(host.cgroups().is_empty(), "{way:?}: {:?}", host.cgroups());
        for name in ["web", "shop"] {
            assert!(!has_run_dir(name), "{way:?}");
            if host.paths().config(&named(name)).exists() {
                host.vserver(["delete", name, "--yes"]).ok();
            }
        }
    }
}

fn named(text: &str) -> GuestName {
    text.parse().expect("a name")
}

fn nothing_is_left_when_it_is_deleted(tree: Tree) {
    killed(tree, |web| drop(web.host().vserver(["delete", "web", "--yes"]).ok()));
}

fn nothing_is_left_when_it_is_renamed(tree: Tree) {
    killed(tree, |web| drop(web.host().vserver(["rename", "web", "shop"]).ok()));
}

fn nothing_is_left_when_it_is_stopped(tree: Tree) {
    killed(tree, |web| {
        web.vserver("stop", [""; 0]).ok().complains("not running");
    });
}

/// The host goes on answering for them.
fn addresses_that_another_guest_has_by_now_stay(tree: Tree) {
    let (host, _beside) = scene();
    let [web, db] = ["web", "db"].map(|name| build(&host, name, tree, WAYS[0]));
    web.start();
    web.kill_all();
    let has_link = || host.network().links().contains("vserver-");
    eventually(DEADLINE, "its network has gone", || (!has_link()).then_some(()));
    db.start();
    let answers =
        || ["-4", "-6"].map(|family| host.network().ip(&format!("{family} neighbour show proxy")));
    let before = answers();
    assert!(before[0].contains("192.0.2.10") && before[1].contains("2001:db8::10"), "{before:?}");
    host.vserver(["delete", "web", "--yes"]).ok();
    assert_eq!(answers(), before);
    db.stop();
    assert_eq!(answers(), ["", ""]);
}

fn a_deletion_that_was_killed_is_finished_by_the_next(tree: Tree) {
    const DIRECTORIES: usize = 5000;
    let host = Host::new();
    let beside = || fs::read_dir(host.paths().roots_dir()).expect("it is there").flatten();
    until_cut(|| {
        let web = host.guest("web").tree(tree).build();
        // Long enough to be met at work.
        for number in 0..DIRECTORIES {
            fs::create_dir(web.root().join(format!("srv/{number}"))).expect("it can be made");
        }
        let mut deleting = host.command(["delete", "web", "--yes"]).spawn().expect("it runs");
        eventually(DEADLINE, "its root is on its way", || {
            let has_ended = deleting.try_wait().expect("it is ours").is_some();
            let moved = beside().find(|entry| entry.file_name() != "web");
            let left = moved.and_then(|moved| fs::read_dir(moved.path().join("root/srv")).ok());
            (has_ended || left.is_some_and(|left| left.count() < DIRECTORIES)).then_some(())
        });
        let _ = deleting.kill();
        if deleting.wait().expect("it ends").success() {
            return false;
        }
        let is_cut = beside().count() == 1;
        let repeated = host.vserver(["delete", "web", "--yes"]);
        assert!(!is_cut || repeated.code == 0, "{repeated}");
        host.vserver(["delete", "web", "--yes"]).code(5);
        assert_eq!(beside().count(), 0);
        is_cut
    });
}
