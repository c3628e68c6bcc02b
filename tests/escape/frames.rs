//! What the two suites of forged addresses share: a host with a machine beside
//! it and guests whose roots have every capability over their network, frames
//! that these send, and what is heard of them.

use std::path::PathBuf;

use caps::Capability;
use tests::{Capture, Guest, Host, Network, executable};
use vserver::variables;

pub(crate) const ATTACKER: &str = env!("CARGO_BIN_EXE_attacker");

/// Forged frames that a router passes on, if nothing holds them back.
pub(crate) const ROUTED: [&str; 13] = [
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
    "home6",
    "ping6",
];

/// Those that only machines on the same wire can hear.
pub(crate) const LOCAL: [&str; 17] = [
    "gateway4",
    "host4",
    "vlan",
    "vlans",
    "gateway6",
    "nobody6",
    "local6",
    "mapped6",
    "disguised6",
    "advertise-foreign",
    "advertise-gateway",
    "router",
    "redirect",
    "mpls",
    "pppoe",
    "lldp",
    "llc",
];

/// The names of all capabilities but these, as configurations have them.
pub(crate) fn capabilities(but: &[Capability]) -> Vec<String> {
    let all = caps::all().into_iter().filter(|one| !but.contains(one));
    all.map(|one| one.to_string().to_lowercase()).collect()
}

/// A host and a machine beside it.
pub(crate) struct Scene {
    pub(crate) beside: Network,
    pub(crate) host: Host,
}

impl Scene {
    /// Of these two, joined by `lan0`.
    pub(crate) fn of((here, beside): (Network, Network)) -> Self {
        Self { beside, host: Host::on(here) }
    }

    /// A guest that attacks, with this network.
    pub(crate) fn guest(&self, name: &str, network: &[(&str, &[&str])]) -> Guest<'_> {
        let all = capabilities(&[]);
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let mut guest = self.host.guest(name).list("security.capabilities.add", &all);
        for (key, values) in network {
            guest = guest.list(&format!("network.{key}"), values);
        }
        let guest = guest.build();
        executable::copy(ATTACKER, guest.root().join("attacker"));
        guest
    }

    /// Listens on the cable until `own4` comes, and in a guest until this does.
    pub(crate) fn listen(&self, guest: &Guest<'_>, last: &str) -> [Capture; 2] {
        let outside = self.beside.command(PathBuf::from(ATTACKER));
        let mut inside = guest.command("exec", ["--", "/attacker"]);
        inside.env(variables::PREFIX, self.host.prefix());
        [Capture::begin(outside, "lan0", "own4"), Capture::begin(inside, "eth0", last)]
    }
}
