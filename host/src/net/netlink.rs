//! Requests to the kernel about links, addresses and routes (rtnetlink(7)).

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, Prop,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::plan::network::Mac;

/// Makes new things only: one that is there already is EEXIST.
const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A connection to the kernel about the network namespace in which it was
/// made.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// An interface that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its number.
    pub(super) index: u32,
    /// Its name.
    pub(super) name: String,
    /// Its hardware address, if it has one.
    pub(super) mac: Option<Vec<u8>>,
    /// Its other names.
    pub(super) alternatives: Vec<String>,
}

/// How an interface is found.
pub(super) enum By<'n> {
    /// By its number.
    Index(u32),
    /// By its name.
    Name(&'n str),
    /// By one of its other names.
    Alternative(&'n str),
}

/// Where the host would send to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Is the address the host's own?
    pub(super) is_local: bool,
    /// Does the route hold for this address alone?
    pub(super) is_exact: bool,
    /// The interface, if it is one.
    pub(super) interface: Option<u32>,
}

impl Netlink {
    /// Connects, to the kernel's side of the caller's network namespace.
    ///
    /// # Errors
    /// Those of socket(2) and connect(2).
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        // The kernel; nobody else can answer then.
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Makes a pair of virtual Ethernet interfaces (veth(4)), both down; the
    /// peer in the network namespace of process `pid`.
    pub(super) fn make_pair(
        &mut self,
        (name, mac): (&str, Mac),
        (peer, peer_mac): (&str, Mac),
        pid: u32,
    ) -> io::Result<()> {
        let mut other = LinkMessage::default();
        other.attributes = vec![
            LinkAttribute::IfName(peer.to_owned()),
            LinkAttribute::Address(peer_mac.to_vec()),
            LinkAttribute::NetNsPid(pid),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
            ]),
        ];
        self.order(Message::NewLink(message), NEW)
    }

    /// Gives an interface another name (ip-link(8), `altname`).
    pub(super) fn add_name(&mut self, index: u32, name: &str) -> io::Result<()> {
        let mut message = link(index);
        message.attributes = vec![LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())])];
        self.order(Message::NewLinkProp(message), NEW)
    }

    /// Lets the kernel make no IPv6 address for an interface by itself, which
    /// it does as soon as it is up.
    pub(super) fn leave_without_address(&mut self, index: u32) -> io::Result<()> {
        let mut message = link(index);
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        message.attributes =
            vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])];
        self.order(Message::SetLink(message), 0)
    }

    /// Brings an interface up.
    pub(super) fn bring_up(&mut self, index: u32) -> io::Result<()> {
        let mut message = link(index);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.order(Message::SetLink(message), 0)
    }

    /// Removes an interface, with its peer.
    pub(super) fn remove(&mut self, index: u32) -> io::Result<()> {
        self.order(Message::DelLink(link(index)), 0)
    }

    /// Finds an interface; `None` if there is none.
    pub(super) fn find(&mut self, by: &By<'_>) -> io::Result<Option<Interface>> {
        let mut message = LinkMessage::default();
        match by {
            By::Index(index) => message.header.index = *index,
            By::Name(name) => message.attributes.push(LinkAttribute::IfName((*name).to_owned())),
            By::Alternative(name) => {
                message.attributes.push(LinkAttribute::Other(alternative_name(name)));
            }
        }
        let answer = match self.ask(Message::GetLink(message), 0) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
            other => other?,
        };
        Ok(answer.into_iter().find_map(|message| match message {
            Message::NewLink(link) => Some(interface(link)),
            _ => None,
        }))
    }

    /// Lets a program judge the packets that arrive on an interface (tc-bpf(8),
    /// `direct-action`).
    pub(super) fn filter(&mut self, index: u32, program: u32, name: &str) -> io::Result<()> {
        let parent = TcHandle { major: u16::MAX, minor: TcHandle::MIN_INGRESS };
        let mut header = tc(index, parent);
        // Priority 1; every protocol (ETH_P_ALL, 3) in network byte order.
        header.info = 1 << 16 | u32::from(3_u16.to_be());
        let attributes = vec![
            TcAttribute::Kind("bpf".to_owned()),
            TcAttribute::Options(vec![
                TcOption::Bpf(TcFilterBpfOption::ProgFd(program)),
                TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
                TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
            ]),
        ];
        self.order(Message::NewTrafficFilter(TcMessage::from_parts(header, attributes)), NEW)
    }

    /// Makes the place at which an interface has its filters (`clsact`,
    /// tc(8)).
    pub(super) fn make_filterable(&mut self, index: u32) -> io::Result<()> {
        let mut header = tc(index, TcHandle::CLSACT);
        header.handle = TcHandle { major: u16::MAX, minor: 0 };
        let attributes = vec![TcAttribute::Kind("clsact".to_owned())];
        self.order(Message::NewQueueDiscipline(TcMessage::from_parts(header, attributes)), NEW)
    }

    /// Gives an interface an address without a network around it. `scope` is
    /// how far it is good (ip-address(8)).
    pub(super) fn add_address(
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
    pub(super) fn add_deprecated(&mut self, index: u32, address: Ipv6Addr) -> io::Result<()> {
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
    pub(super) fn remove_address(
        &mut self,
        index: u32,
        address: IpAddr,
        bits: u8,
    ) -> io::Result<()> {
        self.order(Message::DelAddress(address_of(index, address, bits)), 0)
    }

    /// Notes an address's hardware address on an interface for good.
    pub(super) fn add_neighbour(
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

    /// Answers for an address on an interface, or doesn't any more (arp(7),
    /// ip-neighbour(8), `proxy`).
    pub(super) fn answer_for(
        &mut self,
        index: u32,
        address: IpAddr,
        answer: bool,
    ) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = index;
        message.header.flags = NeighbourFlags::Proxy;
        message.attributes = vec![NeighbourAttribute::Destination(neighbour(address))];
        if answer {
            self.order(Message::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
        } else {
            self.order(Message::DelNeighbour(message), 0)
        }
    }

    /// Routes a single address to an interface, on which it is.
    pub(super) fn route_address(
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
    pub(super) fn route_default(
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
    pub(super) fn way(&mut self, to: IpAddr) -> io::Result<Option<Way>> {
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

    /// A request that is answered by done or not done.
    fn order(&mut self, message: Message, flags: u16) -> io::Result<()> {
        self.ask(message, flags | NLM_F_ACK).map(drop)
    }

    /// A request; what is answered.
    fn ask(&mut self, message: Message, flags: u16) -> io::Result<Vec<Message>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        let mut messages = Vec::new();
        let mut rest = &answer[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<Message>::deserialize(rest)
                .map_err(|_| io::Error::from_raw_os_error(libc::EBADMSG))?;
            // Messages are aligned to four bytes (netlink(7)).
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::Error(error) => match error.code {
                    Some(_) => return Err(io::Error::from_raw_os_error(-error.raw_code())),
                    None => return Ok(messages),
                },
                NetlinkPayload::InnerMessage(message) => messages.push(message),
                _ => {}
            }
        }
        Ok(messages)
    }
}

fn link(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn interface(message: LinkMessage) -> Interface {
    let mut found = Interface {
        index: message.header.index,
        name: String::new(),
        mac: None,
        alternatives: Vec::new(),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name = name,
            LinkAttribute::Address(mac) => found.mac = Some(mac),
            LinkAttribute::PropList(list) => {
                found.alternatives.extend(list.into_iter().filter_map(|prop| match prop {
                    Prop::AltIfName(name) => Some(name),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    found
}

/// `IFLA_ALT_IFNAME` (linux/if_link.h), by which an interface is found.
fn alternative_name(name: &str) -> DefaultNla {
    const IFLA_ALT_IFNAME: u16 = 53;
    let mut text = name.as_bytes().to_vec();
    text.push(0);
    DefaultNla::new(IFLA_ALT_IFNAME, text)
}

fn tc(index: u32, parent: TcHandle) -> TcHeader {
    TcHeader { index: index.cast_signed(), parent, ..TcHeader::default() }
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

fn neighbour(address: IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
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

fn family(of: IpAddr) -> AddressFamily {
    if of.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Errors by which the kernel says that no route leads there.
fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
    )
}
