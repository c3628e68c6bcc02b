//! How a guest is joined to networks, as data: names and numbers of its link.

use std::net::{IpAddr, Ipv4Addr};

use shared::name::{ContextId, GuestName};

use super::{Ids, Layer};
use crate::bpf::addresses::{Addresses, Root};
use crate::config::{self, Address, NetworkMode};
use crate::context::{loopback, loopback6};

/// How a guest is joined to networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Its own stack, with nothing but a loopback interface.
    None,
    /// Its own stack, on a link whose other end is on the host.
    Linked(Link),
    /// The host's stack, held to its addresses.
    Shared(Shared),
}

/// Addresses on the host's stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The guest's addresses.
    pub addresses: Vec<IpAddr>,
    /// What its programs may use.
    pub allowed: Addresses,
}

impl Network {
    /// Is the host's stack the guest's, too?
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// The guest's addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::None => Vec::new(),
            Self::Linked(link) => link.ips().collect(),
            Self::Shared(shared) => shared.addresses.clone(),
        }
    }
}

/// A link between the host and a guest: a pair of virtual Ethernet interfaces
/// (veth(4)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The host's end.
    pub interface: String,
    /// A longer name of the host's end, which tells the whole name of the
    /// guest.
    pub long_name: String,
    /// Hardware address of the host's end.
    pub host_mac: Mac,
    /// Hardware address of the guest's end.
    pub guest_mac: Mac,
    /// The guest's addresses, with their networks.
    pub addresses: Vec<Address>,
    /// What the host's end is joined to.
    pub far: Far,
    /// Is it held to its addresses? Not where a test leaves that out.
    pub is_guarded: bool,
}

impl Link {
    /// The guest's addresses alone.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|address| address.ip)
    }
}

/// What the host's end of a link is joined to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Far {
    /// The host, which routes the guest's addresses to it.
    Host {
        /// The host's interface on whose network it answers for them.
        proxy: Option<String>,
    },
    /// A network of many machines, of which the guest is one.
    Segment {
        /// How it is joined to it.
        door: Door,
        /// Who passes on what is for others.
        gateways: Vec<IpAddr>,
    },
}

/// How a link is joined to a network of many machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// As a port of this bridge of the host's.
    Bridge(String),
    /// By an interface of its own on one of the host's.
    Macvlan(Macvlan),
}

/// An interface with a hardware address of its own, on the network of another
/// one (`macvlan`, ip-link(8)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Macvlan {
    /// The other one.
    pub parent: String,
    /// Its own name.
    pub interface: String,
    /// A longer name, which tells the whole name of the guest.
    pub long_name: String,
}

/// A hardware address of Ethernet.
pub type Mac = [u8; 6];

/// Longest name of an interface (`IFNAMSIZ` less the closing zero,
/// netdevice(7)).
const LONGEST: usize = 15;

/// What tells a guest from all others, on this host and elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'p> {
    pub(super) name: &'p GuestName,
    pub(super) context: ContextId,
    /// The installation on the host ([`crate::paths::Paths::instance`]).
    pub(super) instance: &'p str,
    /// The host ([`crate::facts::Resources::machine`]).
    pub(super) machine: &'p str,
}

pub(super) fn plan(
    guest: Identity<'_>,
    network: &config::Network,
    ids: Ids,
    without: &[Layer],
) -> Network {
    let far = match network.mode() {
        NetworkMode::None => return Network::None,
        NetworkMode::Shared => {
            return Network::Shared(shared(guest, &network.addresses, ids));
        }
        NetworkMode::Routed => Far::Host { proxy: network.proxy_arp.clone() },
        NetworkMode::Bridge => {
            segment(network, Door::Bridge(network.bridge.clone().unwrap_or_default()))
        }
        NetworkMode::Macvlan => segment(
            network,
            Door::Macvlan(Macvlan {
                parent: network.parent.clone().unwrap_or_default(),
                interface: interface("vm", guest),
                long_name: macvlan_name(guest.name, guest.instance),
            }),
        ),
    };
    let (host_mac, guest_mac) = match far {
        Far::Host { .. } => link_macs(guest.context),
        Far::Segment { .. } => segment_macs(guest),
    };
    Network::Linked(Link {
        interface: interface("vs", guest),
        long_name: long_name(guest.name, guest.instance),
        host_mac,
        guest_mac,
        addresses: network.addresses.clone(),
        far,
        is_guarded: !without.contains(&Layer::Addresses),
    })
}

fn segment(network: &config::Network, door: Door) -> Far {
    Far::Segment { door, gateways: network.gateway.iter().map(|gateway| gateway.0).collect() }
}

/// Hardware addresses of both ends of a routed link: locally administered,
/// "vs" (RFC 7042 §2.1). Two links never share a segment, so the same pair on
/// each would do.
fn link_macs(context: ContextId) -> (Mac, Mac) {
    let [.., high, low] = context.get().to_be_bytes();
    let mac = |end| [0x02, b'v', b's', end, high, low];
    (mac(0), mac(1))
}

/// Hardware addresses where others have theirs, too: made of the host, the
/// installation and the context, so that they stay over reboots and are no
/// other guest's. Both are locally administered. A bridge takes the lowest
/// one of its ports for its own unless it was given one, so the host's end has
/// a high one.
fn segment_macs(guest: Identity<'_>) -> (Mac, Mac) {
    let context = guest.context.to_string();
    let parts = [guest.machine, guest.instance, &context];
    // FNV-1a (RFC 9923), a zero behind each part.
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // Its upper bits are the better mixed ones.
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    ([0xfe, a, b, c, d, e], [0x02, a, b, c, d, e])
}

/// The guest's own loopback addresses are made of its context, and that of IPv6 of
/// its installation as well: it has to be put on the host's loopback interface, and
/// whoever ends first takes it away. Its root may bind ports below 1024, also where
/// it has no capability over the host's network.
fn shared(guest: Identity<'_>, addresses: &[Address], ids: Ids) -> Shared {
    let context = guest.context.get();
    let mut allowed = Addresses {
        v4: Vec::new(),
        v6: Vec::new(),
        broadcasts: Vec::new(),
        loopback: loopback(context).unwrap_or(Ipv4Addr::LOCALHOST),
        loopback6: loopback6(context, guest.instance),
        root: ids.has_namespace().then(|| Root { uid: ids.root() }),
    };
    for address in addresses {
        match address.ip {
            IpAddr::V4(ip) => allowed.v4.push((ip, address.bits)),
            IpAddr::V6(ip) => allowed.v6.push((ip, address.bits)),
        }
    }
    Shared { addresses: addresses.iter().map(|address| address.ip).collect(), allowed }
}

/// Name of an interface on the host: `vs-NAME` for the host's end. A longer
/// name is cut, and the context added, after a character that no guest's name
/// has; in an installation below a prefix it is the instance and the context.
fn interface(kind: &str, guest: Identity<'_>) -> String {
    let context = guest.context.get();
    if !guest.instance.is_empty() {
        return format!("{kind}{}~{context:x}", guest.instance);
    }
    let whole = format!("{kind}-{}", guest.name);
    if whole.len() <= LONGEST {
        return whole;
    }
    let end = format!("~{context}");
    let start = whole.get(..LONGEST - end.len()).unwrap_or_default();
    format!("{start}{end}")
}

/// The long name of a guest's link: `vserver-NAME`, an alternative name of the
/// interface (ip-link(8), `altname`).
fn long_name(name: &GuestName, instance: &str) -> String {
    match instance {
        "" => format!("vserver-{name}"),
        instance => format!("vserver-{instance}~{name}"),
    }
}

/// The long name of a guest's macvlan interface.
fn macvlan_name(name: &GuestName, instance: &str) -> String {
    format!("macvlan-{}", long_name(name, instance))
}

/// The long names of all interfaces on the host that a guest can have.
pub fn long_names(name: &GuestName, instance: &str) -> [String; 2] {
    [long_name(name, instance), macvlan_name(name, instance)]
}

/// The guest whose link has this long name, and the instance it is of.
pub fn guest_of(long_name: &str) -> Option<(&str, &str)> {
    let rest = long_name.strip_prefix("vserver-")?;
    Some(match rest.split_once('~') {
        Some((instance, name)) => (name, instance),
        None => (rest, ""),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> GuestName {
        text.parse().expect(text)
    }

    fn context(number: u32) -> ContextId {
        number.try_into().expect("a context")
    }

    fn guest<'p>(name: &'p GuestName, number: u32, instance: &'p str) -> Identity<'p> {
        Identity { name, context: context(number), instance, machine: "0123" }
    }

    #[test]
    fn interfaces_are_named_after_guests() {
        let named = |of, number| interface("vs", guest(&name(of), number, ""));
        assert_eq!(named("web", 40_000), "vs-web");
        assert_eq!(named("twelve-chars", 40_000), "vs-twelve-chars");
        assert_eq!(named("customer-0000017", 40_017), "vs-custom~40017");
        assert_eq!(named("customer-0000017", 2), "vs-customer-0~2");
        let below = name("web");
        assert_eq!(interface("vm", guest(&below, 40_000, "0123abcd")), "vm0123abcd~9c40");
    }

    #[test]
    fn a_guest_keeps_its_hardware_address_and_shares_it_with_nobody() {
        let (web, db) = (name("web"), name("db"));
        let own = segment_macs(guest(&web, 40_000, ""));
        // By another name, too.
        assert_eq!(segment_macs(guest(&db, 40_000, "")), own);
        let elsewhere = Identity { machine: "4567", ..guest(&web, 40_000, "") };
        for other in [guest(&web, 40_001, ""), guest(&web, 40_000, "0123abcd"), elsewhere] {
            assert_ne!(segment_macs(other), own);
        }
        for mac in [own.0, own.1] {
            // Not a group's, and locally administered (RFC 7042 §2.1).
            assert_eq!(mac[0] & 3, 2);
        }
    }

    #[test]
    fn a_macvlan_is_not_taken_for_a_link() {
        assert_eq!(guest_of(&macvlan_name(&name("web"), "")), None);
    }

    proptest! {
        #[test]
        fn no_two_guests_share_an_interface(
            one in "[a-z][a-z0-9._-]{0,47}", two in "[a-z][a-z0-9._-]{0,47}",
            first in 2..=49_151_u32, second in 2..=49_151_u32, below: bool,
        ) {
            prop_assume!(one != two && first != second);
            let instance = if below { "ffffffff" } else { "" };
            let (one, two) = (name(&one), name(&two));
            let one_name = interface("vs", guest(&one, first, instance));
            let two_name = interface("vs", guest(&two, second, instance));
            prop_assert!(one_name.len() <= LONGEST && two_name.len() <= LONGEST);
            prop_assert_ne!(one_name, two_name);
        }

        #[test]
        fn a_long_name_tells_the_guest(guest in "[a-z][a-z0-9._-]{0,47}", below: bool) {
            let instance = if below { "0123abcd" } else { "" };
            let long = long_name(&name(&guest), instance);
            prop_assert_eq!(guest_of(&long), Some((guest.as_str(), instance)));
        }
    }
}
