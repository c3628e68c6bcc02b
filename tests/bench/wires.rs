//! A host in a network namespace of its own, with four guests of each kind, two
//! of them without the system call filter, and beside them what they are
//! compared with: namespaces joined to the host by bare pairs of veth, and
//! cgroups of the host that have something of a guest's. All of it goes with [`Wires`].

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{DEADLINE, Host, Network, command, executable};

use crate::cgroup::{Cgroup, Stand};

/// The program of tests/peer.
const PEER: &str = env!("CARGO_BIN_EXE_peer");

/// Guests: a name, and what is set of `network`.
type Settings = &'static [(&'static str, &'static str)];

const GUESTS: [(&str, Settings); 12] = [
    ("shared-a", &[("addresses", "192.0.2.1"), ("mode", "shared")]),
    ("shared-b", &[("addresses", "192.0.2.2"), ("mode", "shared")]),
    ("shared-c", &[("addresses", "192.0.2.4"), ("mode", "shared")]),
    ("shared-d", &[("addresses", "192.0.2.5"), ("mode", "shared")]),
    ("routed-a", &[("addresses", "192.0.2.10")]),
    ("routed-b", &[("addresses", "192.0.2.11")]),
    ("routed-c", &[("addresses", "192.0.2.12")]),
    ("routed-d", &[("addresses", "192.0.2.13")]),
    ("bridge-a", &[("bridge", "br0"), ("addresses", "203.0.113.10/24")]),
    ("bridge-b", &[("bridge", "br0"), ("addresses", "203.0.113.11/24")]),
    ("bridge-c", &[("bridge", "br0"), ("addresses", "203.0.113.12/24")]),
    ("bridge-d", &[("bridge", "br0"), ("addresses", "203.0.113.13/24")]),
];

/// Cgroups of the host.
const CGROUPS: [(&str, &str, Stand); 4] = [
    ("hooks-a", "192.0.2.6", Stand::Hooks),
    ("hooks-b", "192.0.2.7", Stand::Hooks),
    ("levels-a", "192.0.2.8", Stand::Levels),
    ("levels-b", "192.0.2.9", Stand::Levels),
];

/// How the names of guests without the system call filter end.
const UNFILTERED: [&str; 2] = ["-c", "-d"];

/// Namespaces without vserver: routed by the host, and on its bridge.
const ROUTED: [(&str, &str); 2] = [("bare-a", "192.0.2.110"), ("bare-b", "192.0.2.111")];
const PORTS: [(&str, &str); 2] = [("port-a", "203.0.113.110"), ("port-b", "203.0.113.111")];

/// The scene.
pub struct Wires {
    host: Host,
    bare: Vec<(&'static str, Network)>,
    cgroups: Vec<Cgroup>,
    _beside: Network,
}

/// Where programs can be run: the host, a guest, a bare namespace, or a cgroup.
pub struct End<'a> {
    /// Its name in the scene.
    pub name: &'static str,
    /// Addresses that servers are wanted at.
    pub serves: Vec<&'static str>,
    place: Place<'a>,
}

enum Place<'a> {
    Network(&'a Network),
    Cgroup(&'a Network, &'a Cgroup),
    Guest(&'a Host),
}

impl Wires {
    /// Makes it, and starts the guests.
    pub fn new() -> Self {
        let (here, beside) = Network::with_bridge();
        here.set("ipv4/conf/all/forwarding", "1");
        for number in 1..=9 {
            here.ip(&format!("address add 192.0.2.{number}/32 dev lo"));
        }
        let mut bare = Vec::new();
        for (name, address) in ROUTED {
            let machine = Network::new();
            here.join(name, &[], &machine, ("eth0", &[&format!("{address}/32")]));
            here.ip(&format!("address add 169.254.1.1/32 dev {name} scope host"));
            here.ip(&format!("route add {address} dev {name}"));
            machine.ip("route add 169.254.1.1 dev eth0");
            machine.ip("route add default via 169.254.1.1");
            bare.push((name, machine));
        }
        for (name, address) in PORTS {
            let machine = Network::new();
            here.join(name, &[], &machine, ("eth0", &[&format!("{address}/24")]));
            here.ip(&format!("link set {name} master br0"));
            bare.push((name, machine));
        }
        let host = Host::on(here);
        for (name, settings) in GUESTS {
            let guest = host.guest(name).build();
            for (key, value) in settings {
                host.vserver(["config", "set", name, &format!("network.{key}"), value]).ok();
            }
            executable::copy(PEER, guest.root().join("peer"));
            copy_with_libraries("/usr/bin/iperf3", &guest.root());
            if UNFILTERED.iter().any(|end| name.ends_with(end)) {
                guest.start_without("system-calls");
            } else {
                guest.start();
            }
        }
        let cgroups = CGROUPS.map(|(name, _, stand)| Cgroup::new(name, stand)).into();
        Self { host, bare, cgroups, _beside: beside }
    }

    /// All of its ends.
    pub fn ends(&self) -> Vec<End<'_>> {
        let place = Place::Network(self.host.network());
        let mut ends = vec![End { name: "host", serves: vec!["192.0.2.3", "203.0.113.1"], place }];
        for (name, network) in &self.bare {
            let (_, address) =
                ROUTED.iter().chain(&PORTS).find(|(bare, _)| bare == name).expect(name);
            ends.push(End { name, serves: vec![address], place: Place::Network(network) });
        }
        for ((name, address, _), cgroup) in CGROUPS.iter().zip(&self.cgroups) {
            let place = Place::Cgroup(self.host.network(), cgroup);
            ends.push(End { name, serves: vec![address], place });
        }
        for (name, settings) in GUESTS {
            let addresses = settings.iter().filter(|(key, _)| *key == "addresses");
            let serves = addresses.map(|(_, value)| value.split('/').next().unwrap_or(value));
            ends.push(End { name, serves: serves.collect(), place: Place::Guest(&self.host) });
        }
        ends
    }
}

impl End<'_> {
    /// A program there, not run yet; in a session of its own, as in guests:
    /// the scheduler shares between sessions (`sched_autogroup_enabled`).
    pub fn command(&self, program: &str) -> Command {
        match self.place {
            Place::Network(network) => {
                // The same process throughout: ended, it is all of it.
                let mut command = network.command("setsid");
                command.arg(program);
                command
            }
            Place::Cgroup(network, cgroup) => {
                let mut command = network.command("sh");
                command.args([
                    "-c",
                    "echo $$ >\"$1\"/cgroup.procs; shift; exec setsid \"$@\"",
                    "sh",
                ]);
                command.arg(cgroup.path()).arg(program);
                command
            }
            Place::Guest(host) => host.command(["exec", self.name, "--", program]),
        }
    }

    /// The path of tests/peer there.
    pub fn peer(&self) -> &'static str {
        match self.place {
            Place::Network(_) | Place::Cgroup(..) => PEER,
            Place::Guest(_) => "/peer",
        }
    }
}

/// A program of the host's, and all that it is linked with, at the same paths.
fn copy_with_libraries(program: &str, root: &Path) {
    let linked = command::run(Command::new("ldd").arg(program), DEADLINE).ok().stdout;
    let libraries = linked.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain([program]) {
        let to = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("a directory")).expect("a directory can be made");
        executable::copy(path, to);
    }
}
