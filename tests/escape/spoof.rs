//! Addresses that aren't the guest's, claimed by a guest whose root has every
//! capability over its network: nothing of it reaches a neighbour, a machine
//! beside the host, or the host's own tables, nor passes the filter on the link.
//! The same frames arrive where the filter is left out, which shows that they
//! are right.

use tests::{Capture, Finished, Guest, Network};

use crate::frames::{ATTACKER, LOCAL, ROUTED, Scene};

const OWN: &str = "192.0.2.10,2001:db8::10";
const NEIGHBOUR: &str = "192.0.2.11,2001:db8::11";
const BESIDE: &str = "203.0.113.2,2001:db8:1::2";

/// Frames of the link's own, beside [`LOCAL`].
const OTHERS: [&str; 6] = [
    "options4",
    "arp-foreign",
    "arp-announcement",
    "arp-gateway",
    "arp-announcement-gateway",
    "arp-host",
];

/// What is heard of those that have no mark: who speaks, and in how many of
/// [`OTHERS`].
const CLAIMS: [(&str, usize); 3] =
    [("arp 192.0.2.11", 2), ("arp 169.254.1.1", 2), ("arp 203.0.113.1", 1)];

/// To whom all frames are sent.
const TARGETS: [&str; 2] = [BESIDE, NEIGHBOUR];

/// What comes last, from the guest's own address.
const LAST: [&str; 2] = ["own6", "own4"];

/// A host whose settings don't help: only the link's own shall.
fn scene() -> Scene {
    let (here, beside) = Network::with_neighbour();
    for setting in ["all/rp_filter", "default/rp_filter"] {
        here.set(&format!("ipv4/conf/{setting}"), "0");
    }
    Scene::of((here, beside))
}

fn guest<'s>(scene: &'s Scene, name: &str, addresses: &str) -> Guest<'s> {
    scene.guest(name, &[("addresses", &addresses.split(',').collect::<Vec<_>>())])
}

/// What the host knows of others: nothing that a guest says may change it.
fn tables(scene: &Scene) -> Vec<String> {
    let network = scene.host.network();
    let lines = ["route", "-6 route", "neighbour show nud permanent", "address"];
    let mut text = lines.map(|words| network.ip(words)).concat();
    for kind in ["neighbour", "-6 neighbour"] {
        let all = network.ip(kind);
        text.extend(all.lines().filter(|line| line.contains("router")));
    }
    // The kernel tells its neighbours in no order that lasts.
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
fn send(guest: &Guest<'_>, kind: &str, target: &str) -> Finished {
    guest.exec(["/attacker", "frame", kind, OWN, NEIGHBOUR, target])
}

/// What arrives beside the host, in the neighbour, and at the host behind the
/// link's filter, when all frames have been sent to both.
fn arrived(scene: &Scene, web: &Guest<'_>, db: &Guest<'_>) -> [Vec<String>; 3] {
    let [outside, inside] = scene.listen(db, "own6");
    let links = scene.host.network().links();
    let has_name = |line: &&str| line.ends_with(&format!("~{}", web.name()));
    let link = links.lines().find(has_name).and_then(|line| line.split([':', '@']).nth(1));
    let link = link.unwrap_or_else(|| panic!("no link: {links}")).trim();
    let attacker = scene.host.network().command(ATTACKER);
    let captures = [outside, inside, Capture::passed(attacker, link, "own4")];
    for target in TARGETS {
        for kind in ROUTED.into_iter().chain(LOCAL).chain(OTHERS) {
            send(web, kind, target).ok();
        }
    }
    for (kind, target) in LAST.into_iter().zip([NEIGHBOUR, BESIDE]) {
        send(web, kind, target).ok();
    }
    captures.map(Capture::end)
}

#[test]
#[ignore = "root: boots guests"]
fn no_address_of_another_is_ever_heard() {
    let scene = scene();
    let (web, db) = (guest(&scene, "web", OWN), guest(&scene, "db", NEIGHBOUR));
    web.start();
    db.start();
    scene.beside.run("busybox", ["ping", "-c", "1", "-W", "10", "192.0.2.11"]).ok();
    let before = tables(&scene);
    // The filter is the link's own, and nobody's who looks after the guest.
    web.kill_supervisor();
    let [outside, inside, passed] = arrived(&scene, &web, &db);
    // The two machines may ask each other for themselves.
    let theirs = |line: &&String| line.starts_with("arp 203.0.113.");
    let outside: Vec<_> = outside.iter().filter(|line| !theirs(line)).collect();
    assert_eq!(outside, ["own4"], "beside the host");
    assert_eq!(inside, ["own6"], "in the neighbour");
    // One by the way that it wants others to take, from its own address.
    let mut passed: Vec<_> = passed.into_iter().filter(|line| line != "arp 192.0.2.10").collect();
    passed.sort();
    assert_eq!(passed, ["options4", "options4", "own4", "own6"], "behind the filter");
    assert_eq!(tables(&scene), before);

    // By the kernel's own means: addresses, hardware address, the default way.
    for (line, source, target) in [
        ("ip address add 192.0.2.11/32 dev eth0", "192.0.2.11", "203.0.113.2"),
        ("ip address add 203.0.113.1/32 dev eth0", "203.0.113.1", "203.0.113.2"),
        ("ip address add 2001:db8::11/128 dev eth0", "2001:db8::11", "2001:db8:1::2"),
        ("ip link set eth0 address 02:76:73:99:99:99", "192.0.2.10", "203.0.113.2"),
    ] {
        let ping = format!("ping -c 1 -W 1 -I {source} {target}");
        web.shell(&format!("ping -c 1 -W 10 203.0.113.2 && {line} && ! {ping}")).ok();
    }
    // By an interface of its own upon one of the host's, past the link.
    for index in 1..=8 {
        let said = web.exec(["/attacker", "macvlan-upon", &index.to_string()]).code(1);
        said.says("refused: Operation not permitted (os error 1)\n");
    }
    scene.beside.run("busybox", ["ping", "-c", "1", "-W", "10", "192.0.2.11"]).ok();
    assert_eq!(tables(&scene), before);
    db.exec(["ping", "-c", "1", "-W", "10", "203.0.113.2"]).ok();
}

/// Without a user namespace the kernel would let it have the interface that
/// [`no_address_of_another_is_ever_heard`] tries to make.
#[test]
#[ignore = "root: boots guests"]
fn no_guest_is_given_a_capability_over_the_hosts_links() {
    let scene = scene();
    let web = scene.host.guest("web").list("network.addresses", &["192.0.2.10"]);
    let web = web.set("security.users", "host").build();
    let add = ["config", "set", web.name(), "security.capabilities.add", "net_admin"];
    let said = scene.host.vserver(add).code(1);
    said.complains("the capability 'net_admin' is one over the host's network");
}

#[test]
#[ignore = "root: boots guests"]
fn the_same_frames_arrive_without_the_filter() {
    let scene = scene();
    let (web, db) = (guest(&scene, "web", OWN), guest(&scene, "db", NEIGHBOUR));
    web.start_without("addresses");
    db.start();
    let [outside, inside, passed] = arrived(&scene, &web, &db);
    for kind in ROUTED {
        let known = outside.iter().chain(&inside).any(|line| line == kind);
        assert!(known, "{kind} arrives nowhere: {outside:?} {inside:?}");
    }
    let times = |line: &str| passed.iter().filter(|passed| *passed == line).count();
    for kind in ROUTED.into_iter().chain(LOCAL).chain(["options4"]) {
        assert_eq!(times(kind), TARGETS.len(), "{kind} at the host: {passed:?}");
    }
    for (line, kinds) in CLAIMS {
        assert_eq!(times(line), kinds * TARGETS.len(), "{line} at the host: {passed:?}");
    }
}
