//! What guests with addresses of their own take.

use super::{Finding, limited, ok};
use crate::facts::{Forwarding, HostFacts};

/// Links are made with the first, their filters loaded with the second or
/// CAP_SYS_ADMIN (capabilities(7)).
const NEEDED: &str = "CAP_NET_ADMIN";

pub(super) fn links(host: &HostFacts) -> Finding {
    let topic = "guests' links";
    match host.capabilities.contains(NEEDED) {
        true => ok(topic, "guests can have addresses of their own"),
        false => limited(
            topic,
            format!("without {NEEDED} no guest can have an address of its own"),
            "give it to the session or the container that vserver runs in",
        ),
    }
}

pub(super) fn forwarding(host: &HostFacts) -> Finding {
    let topic = "forwarding";
    let (v4, v6) = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    let remedy = |settings: &str| {
        format!(
            "a guest with an address of its own reaches the host only; sysctl -w {settings} (and \
             a file in /etc/sysctl.d for the next boot)"
        )
    };
    match host.forwarding {
        Forwarding { v4: true, v6: true } => ok(topic, "packets of guests are passed on"),
        Forwarding { v4: true, v6: false } => limited(topic, "of IPv4 alone", remedy(v6)),
        Forwarding { v4: false, v6: true } => limited(topic, "of IPv6 alone", remedy(v4)),
        Forwarding { v4: false, v6: false } => limited(topic, "off", remedy(&format!("{v4} {v6}"))),
    }
}

/// Guests on the host's stack have no raw sockets, and a private guest's groups
/// are of a high range that is given out when it is made.
pub(super) fn pings(host: &HostFacts) -> Finding {
    /// The last group there can be (`GID_T_MAX`, net/ipv4/ping.c).
    const LAST: u32 = 0x7fff_ffff;
    let topic = "ping";
    match host.ping_groups {
        Some((0, LAST)) => ok(topic, "guests on the host's network stack can ping"),
        _ => limited(
            topic,
            "not every group may send pings, so guests on the host's network stack can't",
            "sysctl -w net.ipv4.ping_group_range='0 2147483647' (and a file in /etc/sysctl.d for \
             the next boot)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_passed_on_is_named() {
        let with = |v4, v6| {
            let host = HostFacts { forwarding: Forwarding { v4, v6 }, ..HostFacts::default() };
            forwarding(&host)
        };
        assert_eq!(with(true, true).remedy, None);
        let remedy = with(true, false).remedy.expect("a remedy");
        assert!(remedy.contains("ipv6") && !remedy.contains("ipv4"), "{remedy}");
        let remedy = with(false, false).remedy.expect("a remedy");
        assert!(remedy.contains("ipv6") && remedy.contains("ipv4"), "{remedy}");
    }
}
