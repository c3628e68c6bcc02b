//! Addresses, neighbours and routes.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};

use super::{NEW, Netlink, family};
use crate::plan::network::Mac;

/// Where the host would send to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Way {
    /// Is the address the host's own?
    pub(in crate::net) is_local: bool,
    /// Does the route hold for this address alone?
    pub(in crate::net) is_exact: bool,
    /// The interface, if it is one.
    pub(in crate::net) interface: Option<u32>,
}

impl Netlink {
    /// Gives an interface an address without a network around it. `scope` is
    /// how far it is good (ip-address(8)).
    pub(in crate::net) fn add_address(
        &mut self,
        index: u32,
        address: IpAddr,
        bits: u8,
        scope: AddressScope,
    ) -> io::Result<()> {
        let mut message = address_of(index, address, bits);
        message.header.scope = scope;
        if address.is_ipv6() {
            // Nobody else is on the link: the address is good at once.
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.order(Message::NewAddress(message), NEW)
    }

    /// Gives an interface an IPv6 address that is nobody's source unless a
    /// program asks for it.
    pub(in crate::net) fn add_deprecated(
        &mut self,
        index: u32,
        address: Ipv6Addr,
    ) -> io::Result<()> {
        let mut message = address_of(index, address.into(), 128);
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_preferred = 0;
        lifetimes.ifa_valid = u32::MAX;
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
        self.order(Message::NewAddress(message), NEW)
    }

    /// Takes an address from an interface.
    pub(in crate::net) fn remove_address(
        &mut self,
        index: u32,
        address: IpAddr,
        bits: u8,
    ) -> io::Result<()> {
        self.order(Message::DelAddress(address_of(index, address, bits)), 0)
    }

    /// Notes an address's hardware address on an interface for good.
    pub(in crate::net) fn add_neighbour(
        &mut self,
        index: u32,
        address: IpAddr,
        mac: Mac,
    ) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(neighbour(address)),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        self.order(Message::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Does the host answer for an address on this interface? (`neigh_get`,
    /// net/core/neighbour.c, Linux 5.0)
    pub(in crate::net) fn answers_for(&mut self, index: u32, address: IpAddr) -> io::Result<bool> {
        let message = proxy(index, address);
        match self.ask(Message::GetNeighbour(message), 0) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Answers for an address on an interface, or doesn't any more (arp(7),
    /// ip-neighbour(8), `proxy`).
    pub(in crate::net) fn answer_for(
        &mut self,
        index: u32,
        address: IpAddr,
        answer: bool,
    ) -> io::Result<()> {
        let message = proxy(index, address);
        if answer {
            self.order(Message::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
        } else {
            self.order(Message::DelNeighbour(message), 0)
        }
    }

    /// Routes a single address to an interface, on which it is.
    pub(in crate::net) fn route_address(
        &mut self,
        index: u32,
        address: IpAddr,
        source: Option<IpAddr>,
    ) -> io::Result<()> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let mut message = route(address, bits, RouteScope::Link);
        message.attributes = vec![
            RouteAttribute::Destination(RouteAddress::from(address)),
            RouteAttribute::Oif(index),
        ];
        message.attributes.extend(source.map(|ip| RouteAttribute::PrefSource(ip.into())));
        self.order(Message::NewRoute(message), NEW)
    }

    /// Routes everything else through a gateway.
    pub(in crate::net) fn route_default(
        &mut self,
        index: u32,
        gateway: IpAddr,
        source: IpAddr,
    ) -> io::Result<()> {
        let mut message = route(gateway, 0, RouteScope::Universe);
        message.attributes = vec![
            RouteAttribute::Gateway(RouteAddress::from(gateway)),
            RouteAttribute::PrefSource(RouteAddress::from(source)),
            RouteAttribute::Oif(index),
        ];
        self.order(Message::NewRoute(message), NEW)
    }

    /// The route that the kernel would choose for an address; `None` without
    /// one.
    pub(in crate::net) fn way(&mut self, to: IpAddr) -> io::Result<Option<Way>> {
        let mut message = RouteMessage::default();
        let bits = if to.is_ipv4() { 32 } else { 128 };
        message.header.address_family = family(to);
        message.header.destination_prefix_length = bits;
        message.header.flags = RouteFlags::FibMatch | RouteFlags::LookupTable;
        message.attributes = vec![RouteAttribute::Destination(RouteAddress::from(to))];
        let answer = match self.ask(Message::GetRoute(message), 0) {
            Err(error) if is_unreachable(&error) => return Ok(None),
            other => other?,
        };
        let found = answer.into_iter().find_map(|message| match message {
            Message::NewRoute(route) => Some(route),
            _ => None,
        });
        Ok(found.map(|route| Way {
            is_local: route.header.kind == RouteType::Local,
            is_exact: route.header.destination_prefix_length == bits,
            interface: route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            }),
        }))
    }
}

/// An address on an interface.
fn address_of(index: u32, address: IpAddr, bits: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = bits;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Address(address), AddressAttribute::Local(address)];
    message
}

fn route(to: IpAddr, bits: u8, scope: RouteScope) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to);
    message.header.destination_prefix_length = bits;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = scope;
    message.header.kind = RouteType::Unicast;
    message
}

/// An address that the host answers for on an interface.
fn proxy(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Proxy;
    message.attributes = vec![NeighbourAttribute::Destination(neighbour(address))];
    message
}

fn neighbour(address: IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    }
}

/// Errors by which the kernel says that no route leads there.
fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
    )
}
