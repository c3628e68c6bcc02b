//! Does the host pass packets on, and who may send pings?

use std::net::IpAddr;

use super::text;

/// The families of which the host passes packets on, from one interface to
/// another (ip-sysctl in the kernel's documentation). Without that a guest
/// with a link of its own reaches the host and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Forwarding {
    /// As it is now, in the caller's network namespace.
    pub fn read() -> Self {
        let is_set = |family: &str| {
            text(format!("/proc/sys/net/{family}/conf/all/forwarding")).trim() == "1"
        };
        Self { v4: is_set("ipv4"), v6: is_set("ipv6") }
    }

    /// Is it so for the families of these addresses?
    pub fn serves(self, addresses: &[IpAddr]) -> bool {
        addresses.iter().all(|address| if address.is_ipv4() { self.v4 } else { self.v6 })
    }
}

/// The groups whose members may send pings without a capability, first and
/// last (`net.ipv4.ping_group_range`, icmp(7)); in a network namespace that
/// nobody has set it in, the last comes before the first.
pub fn ping_groups() -> Option<(u32, u32)> {
    let text = text("/proc/sys/net/ipv4/ping_group_range");
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
