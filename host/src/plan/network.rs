//! How a guest is joined to networks, as data: names and numbers of its link.

use std::net::{IpAddr, Ipv4Addr};

use shared::name::{ContextId, GuestName};

use super::{Ids, Layer};
use crate::bpf::addresses::{Addresses, Root};
use crate::config::{self, NetworkMode};
use crate::context::{loopback, loopback6};

/// How a guest is joined to networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Its own stack, with nothing but a loopback interface.
    None,
    /// Its own stack, on a link to the host.
    Routed(Link),
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
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::None => &[],
            Self::Routed(link) => &link.addresses,
            Self::Shared(shared) => &shared.addresses,
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
    /// The guest's addresses.
    pub addresses: Vec<IpAddr>,
    /// The host's interface on whose network it answers for them.
    pub proxy: Option<String>,
    /// Is it held to them? Not where a test leaves that out.
    pub is_guarded: bool,
}

/// A hardware address of Ethernet.
pub type Mac = [u8; 6];

/// Longest name of an interface (`IFNAMSIZ` less the closing zero,
/// netdevice(7)).
const LONGEST: usize = 15;

pub(super) fn plan(
    name: &GuestName,
    context: ContextId,
    network: &config::Network,
    ids: Ids,
    instance: &str,
    without: &[Layer],
) -> Network {
    match network.mode() {
        NetworkMode::None => Network::None,
        NetworkMode::Shared => Network::Shared(shared(context, &network.addresses, ids)),
        NetworkMode::Routed => {
            let [.., high, low] = context.get().to_be_bytes();
            // Locally administered; "vs" (RFC 7042 §2.1). Two links never
            // share a segment, so the same pair on each would do.
            let mac = |end| [0x02, b'v', b's', end, high, low];
            Network::Routed(Link {
                interface: interface(name, context, instance),
                long_name: long_name(name, instance),
                host_mac: mac(0),
                guest_mac: mac(1),
                addresses: network.addresses.iter().map(|address| address.ip).collect(),
                proxy: network.proxy_arp.clone(),
                is_guarded: !without.contains(&Layer::Addresses),
            })
        }
    }
}

/// The guest's own loopback address is made of its context. Its root may bind
/// ports below 1024, also where it has no capability over the host's network.
fn shared(context: ContextId, addresses: &[config::Address], ids: Ids) -> Shared {
    let mut allowed = Addresses {
        v4: Vec::new(),
        v6: Vec::new(),
        broadcasts: Vec::new(),
        loopback: loopback(context.get()).unwrap_or(Ipv4Addr::LOCALHOST),
        loopback6: loopback6(context.get()),
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

/// Name of the host's end: `vs-NAME`. A longer name is cut, and the context
/// added, after a character that no guest's name has; in an installation below
/// a prefix it is the instance and the context.
fn interface(name: &GuestName, context: ContextId, instance: &str) -> String {
    let context = context.get();
    if !instance.is_empty() {
        return format!("vs{instance}~{context:x}");
    }
    let whole = format!("vs-{name}");
    if whole.len() <= LONGEST {
        return whole;
    }
    let end = format!("~{context}");
    let start = whole.get(..LONGEST - end.len()).unwrap_or_default();
    format!("{start}{end}")
}

/// The long name of a guest's link: `vserver-NAME`, an alternative name of the
/// interface (ip-link(8), `altname`).
pub fn long_name(name: &GuestName, instance: &str) -> String {
    match instance {
        "" => format!("vserver-{name}"),
        instance => format!("vserver-{instance}~{name}"),
    }
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

    #[test]
    fn interfaces_are_named_after_guests() {
        let named = |guest, number| interface(&name(guest), context(number), "");
        assert_eq!(named("web", 40_000), "vs-web");
        assert_eq!(named("twelve-chars", 40_000), "vs-twelve-chars");
        assert_eq!(named("customer-0000017", 40_017), "vs-custom~40017");
        assert_eq!(named("customer-0000017", 2), "vs-customer-0~2");
        assert_eq!(interface(&name("web"), context(40_000), "0123abcd"), "vs0123abcd~9c40");
    }

    proptest! {
        #[test]
        fn no_two_guests_share_an_interface(
            one in "[a-z][a-z0-9._-]{0,47}", two in "[a-z][a-z0-9._-]{0,47}",
            first in 2..=49_151_u32, second in 2..=49_151_u32, below: bool,
        ) {
            prop_assume!(one != two && first != second);
            let instance = if below { "ffffffff" } else { "" };
            let one_name = interface(&name(&one), context(first), instance);
            let two_name = interface(&name(&two), context(second), instance);
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
