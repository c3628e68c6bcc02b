//! Addresses that aren't the guest's, claimed on a network of many machines: on
//! a bridge, and beside the host by macvlan. Its root has every capability over
//! its own network. Nothing of it reaches a neighbour or a machine on the
//! cable; the same frames arrive where the filter is left out.

use std::process::Command;

use tests::{Capture, DEADLINE, Guest, Network, command};

use crate::frames::{LOCAL, ROUTED, Scene};

const OWN: &str = "203.0.113.10,2001:db8:1::10";
const NEIGHBOUR: &str = "203.0.113.11,2001:db8:1::11";
const BESIDE: &str = "203.0.113.2,2001:db8:1::2";

/// Nobody's, so that nobody says it rightly.
const FOREIGN: &str = "203.0.113.99,2001:db8:1::99";

/// Frames that nobody may hear, beside [`ROUTED`] and [`LOCAL`].
const BAD: [&str; 16] = [
    "dhcp4",
    "dhcp6",
    "redirect4",
    "router4",
    "igmp-query",
    "vrrp",
    "arp-mac",
    "arp-probe-foreign",
    "advertise-mac",
    "advertise-by-own",
    "advertise-by-local",
    "advertise-hidden",
    "solicit-mac",
    "solicit-foreign",
    "dad-foreign",
    "router-own",
];

/// The same, which bridges themselves take, and don't pass on to everybody.
const BAD_FOR_BRIDGES: [&str; 1] = ["mld-query"];

/// Frames without a mark, known by who speaks.
const CLAIMS: [&str; 2] = ["arp-foreign", "arp-announcement"];

/// Frames by which one says that another's address is its own, so that who
/// knows the other already believes it.
const TAKING: [&str; 6] = [
    "arp-foreign",
    "arp-announcement",
    "solicit-foreign",
    "advertise-foreign",
    "advertise-by-local",
    "advertise-by-own",
];

/// What a machine has to say; the last two end the captures.
const GOOD: [&str; 8] = [
    "arp-own",
    "arp-probe",
    "advertise-own",
    "solicit-own",
    "dad-own",
    "mld-report",
    "own6",
    "own4",
];

/// A host with a machine on the same cable.
fn scene(mode: &str) -> Scene {
    if mode != "bridge" {
        return Scene::of(Network::with_neighbour());
    }
    let (here, beside) = Network::with_bridge();
    // Else it would keep what is for groups from those that don't ask.
    here.ip("link set br0 type bridge mcast_snooping 0");
    // With the host's firewall in between it would cut off the marks.
    let off = "for file in /proc/sys/net/bridge/bridge-nf-call-*; do \
               [ ! -e $file ] || echo 0 >$file; done";
    here.run("sh", ["-c", off]).ok();
    Scene::of((here, beside))
}

fn guest<'s>(scene: &'s Scene, mode: &str, name: &str, addresses: &str) -> Guest<'s> {
    let (v4, v6) = addresses.split_once(',').expect("two addresses");
    let (v4, v6) = (format!("{v4}/24"), format!("{v6}/64"));
    let (key, door) = if mode == "bridge" { ("bridge", "br0") } else { ("parent", "lan0") };
    let gateways: Vec<_> = BESIDE.split(',').collect();
    let network: [(&str, &[&str]); 4] =
        [(key, &[door]), ("addresses", &[&v4, &v6]), ("gateway", &gateways), ("mode", &[mode])];
    scene.guest(name, &network)
}

/// Has the neighbour and the gateway know each other, says to all that both
/// addresses are the guest's, and tells whom each takes for the other then: the
/// hardware addresses before, and after.
fn taken(scene: &Scene, web: &Guest<'_>, db: &Guest<'_>) -> [Vec<String>; 2] {
    let in_guest = format!("--net=/proc/{}/ns/net", db.init_pid());
    let known = || {
        let inside = |address: &str| {
            let mut ip = Command::new("nsenter");
            ip.args([&in_guest, "ip", "neighbour", "show", address]);
            command::run(&mut ip, DEADLINE).ok().stdout
        };
        let outside = |address: &str| scene.beside.ip(&format!("neighbour show {address}"));
        let lines = BESIDE.split(',').map(inside).chain(NEIGHBOUR.split(',').map(outside));
        let mac = |line: String| line.split("lladdr ").nth(1)?.get(..17).map(str::to_owned);
        lines.map(|line| mac(line).unwrap_or_default()).collect()
    };
    // An entry of ARP's is held fast for a second (arp(7), "locktime").
    let unlock = "for file in /proc/sys/net/ipv4/neigh/*/locktime; do echo 0 >$file; done";
    scene.beside.run("sh", ["-c", unlock]).ok();
    command::run(Command::new("nsenter").args([&*in_guest, "sh", "-c", unlock]), DEADLINE).ok();
    for address in BESIDE.split(',') {
        db.exec(["ping", "-c", "1", "-W", "10", address]).ok();
    }
    for address in NEIGHBOUR.split(',') {
        scene.beside.run("busybox", ["ping", "-c", "1", "-W", "10", address]).ok();
    }
    let before = known();
    for claimed in [NEIGHBOUR, BESIDE] {
        for kind in TAKING {
            web.exec(["/attacker", "frame", kind, OWN, claimed, BESIDE]).ok();
        }
    }
    // What was sent first has arrived when this has.
    let captures = scene.listen(db, "own4");
    web.exec(["/attacker", "frame", "own4", OWN, FOREIGN, BESIDE]).ok();
    captures.into_iter().for_each(|capture| drop(capture.end()));
    [before, known()]
}

fn bad() -> impl Iterator<Item = &'static str> {
    ROUTED.into_iter().chain(LOCAL).chain(BAD)
}

/// What arrives on the cable and in the neighbour when all frames have been
/// sent.
fn arrived(scene: &Scene, web: &Guest<'_>, db: &Guest<'_>) -> [Vec<String>; 2] {
    let captures = scene.listen(db, "own4");
    for kind in bad().chain(BAD_FOR_BRIDGES).chain(CLAIMS).chain(GOOD) {
        web.exec(["/attacker", "frame", kind, OWN, FOREIGN, BESIDE]).ok();
    }
    captures.map(Capture::end)
}

fn only_what_is_its_own_is_heard(mode: &'static str) {
    let scene = scene(mode);
    let (web, db) = (guest(&scene, mode, "web", OWN), guest(&scene, mode, "db", NEIGHBOUR));
    web.start();
    db.start();
    for guest in [&web, &db] {
        guest.exec(["ping", "-c", "1", "-W", "10", "203.0.113.2"]).ok();
        guest.exec(["ping", "-c", "1", "-W", "10", "2001:db8:1::2"]).ok();
    }
    for heard in arrived(&scene, &web, &db) {
        // Each may say who it is itself.
        let (claims, marked): (Vec<_>, Vec<_>) =
            heard.iter().partition(|line| line.starts_with("arp "));
        assert_eq!(marked, GOOD.iter().collect::<Vec<_>>(), "{mode}");
        assert!(claims.iter().all(|line| *line != "arp 203.0.113.99"), "{mode}: {claims:?}");
    }
    for kind in ["neighbour", "-6 neighbour"] {
        let known = scene.beside.ip(kind);
        assert!(!known.contains("203.0.113.99") && !known.contains("::99"), "{known}");
    }
    let [before, after] = taken(&scene, &web, &db);
    assert!(before.iter().all(|mac| !mac.is_empty()), "{mode}: {before:?}");
    assert_eq!(after, before, "{mode}: who has the neighbour's and the gateway's addresses");
    // By the kernel's own means: an address, a hardware address.
    for line in [
        "ip address add 203.0.113.99/24 dev eth0 && ! ping -c 1 -W 1 -I 203.0.113.99 203.0.113.2",
        "ip address add 2001:db8:1::99/64 dev eth0 && \
         ! ping -c 1 -W 1 -I 2001:db8:1::99 2001:db8:1::2",
        "ip link set eth0 address 02:76:73:99:99:99 && ! ping -c 1 -W 1 203.0.113.2",
    ] {
        web.shell(line).ok();
    }
    db.exec(["ping", "-c", "1", "-W", "10", "203.0.113.2"]).ok();
}

fn all_is_heard_without_the_filter(mode: &'static str) {
    let scene = scene(mode);
    let (web, db) = (guest(&scene, mode, "web", OWN), guest(&scene, mode, "db", NEIGHBOUR));
    web.start_without("addresses");
    db.start();
    let [outside, inside] = arrived(&scene, &web, &db);
    for kind in bad().chain(GOOD).chain(["arp 203.0.113.99"]) {
        for (heard, whose) in [(&outside, "cable"), (&inside, "neighbour")] {
            assert!(
                heard.iter().any(|line| line == kind),
                "{mode}: no {kind} on the {whose}: {heard:?}"
            );
        }
    }
    let own = web.exec(["cat", "/sys/class/net/eth0/address"]).ok().trimmed().to_owned();
    let [_, after] = taken(&scene, &web, &db);
    assert!(after.iter().all(|mac| *mac == own), "{mode}: not all of {own}: {after:?}");
}

#[test]
#[ignore = "root: boots guests"]
fn on_a_bridge_only_what_is_its_own_is_heard() {
    only_what_is_its_own_is_heard("bridge");
}

#[test]
#[ignore = "root: boots guests"]
fn by_macvlan_only_what_is_its_own_is_heard() {
    only_what_is_its_own_is_heard("macvlan");
}

#[test]
#[ignore = "root: boots guests"]
fn on_a_bridge_all_is_heard_without_the_filter() {
    all_is_heard_without_the_filter("bridge");
}

#[test]
#[ignore = "root: boots guests"]
fn by_macvlan_all_is_heard_without_the_filter() {
    all_is_heard_without_the_filter("macvlan");
}
