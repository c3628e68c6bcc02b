//! Sources that aren't the guest's, on the host's own stack: another guest's and
//! the host's, by every kind of socket that there is. A machine
//! beside the host hears nothing of it; the same datagrams of a process of the
//! host's arrive, which shows that they are right.

use std::path::Path;

use caps::{CapSet, Capability};
use tests::{Capture, Finished, Host, Network, executable};

use crate::frames::{ATTACKER, capabilities};

/// Which source each family has: of the guest, of another guest, of the host.
const SOURCES: [[&str; 3]; 2] =
    [["192.0.2.1", "192.0.2.2", "203.0.113.1"], ["2001:db8::1", "2001:db8::2", "2001:db8:1::1"]];

/// The machine beside the host, by either family.
const BESIDE: [&str; 2] = ["203.0.113.2", "2001:db8:1::2"];

/// Ways to send from another address, with the family before each.
const WAYS: [&str; 9] = [
    "bind",
    "named",
    "freebind",
    "transparent",
    "fragments",
    "route",
    "ping",
    "ping-named",
    "ping-freebind",
];

/// What comes last, from the guest's own address.
const LAST: &str = "v4-own";

/// Sends all of it, and says what of it is heard beside the host. `run` runs
/// the attacker.
fn heard(beside: &Network, own: usize, run: &dyn Fn(&[&str]) -> Finished) -> Vec<String> {
    let capture = Capture::begin(beside.command(Path::new(ATTACKER)), "lan0", LAST);
    let others = SOURCES[0].iter().enumerate().filter(|(number, _)| *number != own);
    for (number, _) in others {
        for (family, (sources, target)) in SOURCES.iter().zip(BESIDE).enumerate() {
            for way in WAYS {
                let kind = format!("{}-{way}", ["v4", "v6"][family]);
                // How it is refused is each way's own affair.
                run(&["datagram", &kind, sources[number], target, target]);
            }
        }
        // By a socket of IPv6 that speaks IPv4.
        for way in ["bind", "named", "freebind"] {
            let kind = format!("mapped-{way}");
            run(&["datagram", &kind, SOURCES[0][number], BESIDE[0], BESIDE[0]]);
        }
    }
    run(&["datagram", "v6-own", SOURCES[1][own], BESIDE[1], BESIDE[1]]).ok();
    run(&["datagram", LAST, SOURCES[0][own], BESIDE[0], BESIDE[0]]).ok();
    let mut lines = capture.end();
    lines.retain(|line| !line.starts_with("arp "));
    // What an error says of a datagram tells it once more (RFC 792, RFC 4443).
    lines.dedup();
    lines
}

fn scene() -> (Host, Network) {
    let (here, beside) = Network::with_neighbour();
    for sources in SOURCES {
        for source in &sources[..2] {
            here.ip(&format!("address add {source} dev lo"));
        }
    }
    here.set("ipv4/ping_group_range", "0 2147483647");
    // What is beside the host takes routes within packets.
    for setting in ["all/accept_source_route", "lan0/accept_source_route"] {
        beside.set(&format!("ipv4/conf/{setting}"), "1");
    }
    // The two know each other: nothing of the guest's waits for an answer.
    for (target, family) in BESIDE.into_iter().zip(["-4", "-6"]) {
        here.run("busybox", ["ping", family, "-c", "1", "-W", "10", target]).ok();
    }
    (Host::on(here), beside)
}

#[test]
#[ignore = "root: boots guests"]
fn on_the_hosts_stack_no_source_of_another_is_ever_heard() {
    let (host, beside) = scene();
    // The host's own root may lack some itself; these two are refused.
    let has = |one: &Capability| caps::has_cap(None, CapSet::Permitted, *one).is_ok_and(|has| has);
    let mut host_only: Vec<_> = caps::all().into_iter().filter(|one| !has(one)).collect();
    host_only.extend([Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]);
    for (users, but) in [("private", &[][..]), ("identity", &[]), ("host", &host_only)] {
        let all = capabilities(but);
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let web = host.guest(users).list("security.capabilities.add", &all);
        let web = web.set("security.users", users);
        let web = web.list("network.addresses", &[SOURCES[0][0], SOURCES[1][0]]);
        let web = web.set("network.mode", "shared").build();
        executable::copy(ATTACKER, web.root().join("attacker"));
        web.start();
        let run = |words: &[&str]| web.exec([&["/attacker"], words].concat());
        assert_eq!(heard(&beside, 0, &run), ["v6-own", LAST], "{users}");
        web.stop();
    }
    // A process of the host's, whom nothing holds to an address.
    let run = |words: &[&str]| host.network().run(ATTACKER, words);
    let all = heard(&beside, 2, &run);
    for family in ["v4", "v6"] {
        for way in WAYS {
            let kind = format!("{family}-{way}");
            assert!(all.contains(&kind), "{kind} doesn't arrive: {all:?}");
        }
    }
    for way in ["bind", "named", "freebind"] {
        assert!(all.contains(&format!("mapped-{way}")), "mapped-{way}: {all:?}");
    }
}
