//! Addresses that aren't the guest's, sent all the same: a few of the frames
//! of tests/escape, also for kernels that hold the filter in another way
//! (before Linux 6.6 by clsact).

use std::path::Path;

use tests::{Capture, DEADLINE, Guest, Host, Network, Tree, eventually, executable};

on! { Busybox: [are_not_heard_beside_the_host, are_not_heard_on_a_bridge] }

/// Forged frames, with either family.
const FORGED: [&str; 4] = ["foreign4", "mac", "foreign6", "fragment6"];

/// What a bridge has beside them; it is known by who speaks.
const ARP: &str = "arp-foreign";

/// What comes last, from the guest's own address.
const LAST: &str = "own4";

/// The machine beside the host.
const BESIDE: &str = "203.0.113.2,2001:db8:1::2";

/// The program of tests/attacker, in the virtual machine of tests/vm as well.
fn attacker() -> &'static Path {
    let built = Path::new(env!("CARGO_BIN_EXE_attacker"));
    if built.exists() { built } else { Path::new("/payload/attacker") }
}

fn guest<'h>(host: &'h Host, tree: Tree, addresses: &[&str], bridge: Option<&str>) -> Guest<'h> {
    let mut guest = host.guest("web").tree(tree);
    if let Some(bridge) = bridge {
        guest = guest.set("network.bridge", bridge);
    }
    let guest = guest.list("network.addresses", addresses);
    let guest = guest.list("security.capabilities.add", &["net_admin", "net_raw"]).build();
    executable::copy(attacker(), guest.root().join("attacker"));
    guest
}

/// What of the frames the machine beside the host hears. The host's own routes
/// don't judge what comes in: only the filter shall.
fn heard(web: &Guest<'_>, beside: &Network, own: &str, foreign: &str) -> Vec<String> {
    let links = web.host().network().links();
    let link = links.lines().find(|line| line.contains("altname vserver-")).expect("a link");
    let link = link.split([':', '@']).nth(1).expect("its name").trim();
    web.host().network().set(&format!("ipv4/conf/{link}/rp_filter"), "0");
    let capture = Capture::begin(beside.command(attacker()), "lan0", LAST);
    for kind in FORGED.into_iter().chain([ARP, LAST]) {
        web.exec(["/attacker", "frame", kind, own, foreign, BESIDE]).ok();
    }
    let speaker = format!("arp {}", foreign.split(',').next().expect("an address"));
    let known = |line: &String| !line.starts_with("arp ") || *line == speaker;
    let mut lines: Vec<_> = capture.end().into_iter().filter(known).collect();
    // What an error says of a datagram tells it once more (RFC 792, RFC 4443).
    lines.dedup();
    lines
}

/// First the control: then the host knows its neighbours, and what isn't heard is
/// the filter's doing.
fn judge(web: &Guest<'_>, beside: &Network, own: &str, foreign: &str, all: &[&str]) {
    web.start_without("addresses");
    eventually(DEADLINE, "all is heard without the filter", || {
        let now = heard(web, beside, own, foreign);
        println!("{now:?}");
        (now == all).then_some(())
    });
    web.stop();
    web.start();
    assert_eq!(heard(web, beside, own, foreign), [LAST]);
    web.stop();
}

fn are_not_heard_beside_the_host(tree: Tree) {
    const OWN: &str = "192.0.2.10,2001:db8::10";
    const FOREIGN: &str = "192.0.2.11,2001:db8::11";
    let (here, beside) = Network::with_neighbour();
    for setting in ["all/rp_filter", "default/rp_filter"] {
        here.set(&format!("ipv4/conf/{setting}"), "0");
    }
    let host = Host::on(here);
    let web = guest(&host, tree, &["192.0.2.10", "2001:db8::10"], None);
    judge(&web, &beside, OWN, FOREIGN, &[&FORGED[..], &[LAST]].concat());
}

fn are_not_heard_on_a_bridge(tree: Tree) {
    const OWN: &str = "203.0.113.10,2001:db8:1::10";
    const FOREIGN: &str = "203.0.113.99,2001:db8:1::99";
    let (here, beside) = Network::with_bridge();
    let host = Host::on(here);
    let web = guest(&host, tree, &["203.0.113.10/24", "2001:db8:1::10/64"], Some("br0"));
    let all = [&FORGED[..], &["arp 203.0.113.99", LAST]].concat();
    judge(&web, &beside, OWN, FOREIGN, &all);
}
