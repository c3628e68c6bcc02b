//! Addresses that aren't the guest's, claimed by a guest whose root has every
//! capability over its network: nothing of it reaches a neighbour, a machine
//! beside the host, or the host's own tables. The same frames arrive where the
//! filter is left out, which shows that they are right.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use tests::{DEADLINE, Finished, Guest, Host, Network, command};
use vserver::variables;

pub(crate) const ATTACKER: &str = env!("CARGO_BIN_EXE_attacker");

const OWN: &str = "192.0.2.10,2001:db8::10";
const NEIGHBOUR: &str = "192.0.2.11,2001:db8::11";
const BESIDE: &str = "203.0.113.2,2001:db8:1::2";

/// Frames that a router passes on, if nothing holds them back.
const ROUTED: [&str; 11] = [
    "foreign4",
    "fragment4",
    "rest4",
    "ping4",
    "tunnel4",
    "mac",
    "foreign6",
    "options6",
    "routing6",
    "fragment6",
    "destination6",
];

/// Frames that a router doesn't pass on anyway: held back as well.
const OTHERS: [&str; 20] = [
    "gateway4",
    "host4",
    "options4",
    "vlan",
    "vlans",
    "gateway6",
    "nobody6",
    "local6",
    "arp-foreign",
    "arp-gateway",
    "arp-host",
    "arp-announcement",
    "advertise-foreign",
    "advertise-gateway",
    "router",
    "redirect",
    "mpls",
    "pppoe",
    "lldp",
    "llc",
];

/// What comes last, from the guest's own address.
const LAST: [&str; 2] = ["own6", "own4"];

/// A host with two guests, and a machine beside it.
struct Scene {
    beside: Network,
    host: Host,
}

impl Scene {
    fn new() -> Self {
        let (here, beside) = Network::with_neighbour();
        // Nothing but the link's own settings shall help.
        for setting in ["all/rp_filter", "default/rp_filter"] {
            here.set(&format!("ipv4/conf/{setting}"), "0");
        }
        Self { host: Host::on(here), beside }
    }

    fn guest(&self, name: &str, addresses: &str) -> Guest<'_> {
        let guest = self.host.guest(name).build();
        let set = |key, values: &[&str]| {
            let mut set = self.host.command(["config", "set", name, key]);
            command::run(set.args(values), DEADLINE).ok();
        };
        set("security.capabilities.add", &["net_admin", "net_raw", "sys_admin"]);
        set("network.addresses", &addresses.split(',').collect::<Vec<_>>());
        fs::copy(ATTACKER, guest.root().join("attacker")).expect("the attacker can be copied");
        guest
    }

    /// What the host knows of others: nothing that a guest says may change it.
    fn tables(&self) -> Vec<String> {
        let network = self.host.network();
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
}

/// Frames that arrive somewhere.
pub(crate) struct Capture {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Capture {
    /// Listens from now on.
    pub(crate) fn begin(mut command: Command, interface: &str, last: &str) -> Self {
        command.args(["capture", interface, last]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the attacker can be run");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("the attacker says that it listens");
        assert_eq!(line, "listening\n");
        Self { child, lines }
    }

    /// What has arrived up to the last frame.
    pub(crate) fn end(mut self) -> Vec<String> {
        let mut text = String::new();
        self.lines.read_to_string(&mut text).expect("a capture is text");
        self.child.wait().expect("a capture ends");
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        // How the attempt ended.
        assert_eq!(lines.pop().as_deref(), Some("escaped: the last one"));
        lines
    }
}

fn send(guest: &Guest<'_>, kind: &str, target: &str) -> Finished {
    guest.exec(["/attacker", "frame", kind, OWN, NEIGHBOUR, target])
}

/// What arrives beside the host and in the neighbour when all frames have been
/// sent to both.
fn arrived(scene: &Scene, web: &Guest<'_>, db: &Guest<'_>) -> (Vec<String>, Vec<String>) {
    let outside = Capture::begin(scene.beside.command(PathBuf::from(ATTACKER)), "lan0", "own4");
    let mut inside = db.command("exec", ["--", "/attacker"]);
    inside.env(variables::PREFIX, scene.host.prefix());
    let inside = Capture::begin(inside, "eth0", "own6");
    for target in [BESIDE, NEIGHBOUR] {
        for kind in ROUTED.into_iter().chain(OTHERS) {
            send(web, kind, target).ok();
        }
    }
    for (kind, target) in LAST.into_iter().zip([NEIGHBOUR, BESIDE]) {
        send(web, kind, target).ok();
    }
    (outside.end(), inside.end())
}

#[test]
#[ignore = "root: boots guests"]
fn no_address_of_another_is_ever_heard() {
    let scene = Scene::new();
    let (web, db) = (scene.guest("web", OWN), scene.guest("db", NEIGHBOUR));
    web.start();
    db.start();
    scene.beside.run("busybox", ["ping", "-c", "1", "-W", "10", "192.0.2.11"]).ok();
    let before = scene.tables();
    let (outside, inside) = arrived(&scene, &web, &db);
    // The two machines may ask each other for themselves.
    let theirs = |line: &&String| line.starts_with("arp 203.0.113.");
    let outside: Vec<_> = outside.iter().filter(|line| !theirs(line)).collect();
    assert_eq!(outside, ["own4"], "beside the host");
    assert_eq!(inside, ["own6"], "in the neighbour");
    assert_eq!(scene.tables(), before);

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
    scene.beside.run("busybox", ["ping", "-c", "1", "-W", "10", "192.0.2.11"]).ok();
    assert_eq!(scene.tables(), before);
    db.exec(["ping", "-c", "1", "-W", "10", "203.0.113.2"]).ok();
}

#[test]
#[ignore = "root: boots guests"]
fn the_same_frames_arrive_without_the_filter() {
    let scene = Scene::new();
    let (web, db) = (scene.guest("web", OWN), scene.guest("db", NEIGHBOUR));
    web.start_without("addresses");
    db.start();
    let (outside, inside) = arrived(&scene, &web, &db);
    for kind in ROUTED {
        let known = outside.iter().chain(&inside).any(|line| line == kind);
        assert!(known, "{kind} arrives nowhere: {outside:?} {inside:?}");
    }
}
