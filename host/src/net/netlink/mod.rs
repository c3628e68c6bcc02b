//! Requests to the kernel about links, addresses and routes (rtnetlink(7)): the
//! connection, and how interfaces are found.

mod links;
mod routes;

pub(super) use links::Place;
pub(super) use routes::Way;

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

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
    /// The most bytes of a packet.
    pub(super) mtu: Option<u32>,
    /// Is it a bridge?
    pub(super) is_bridge: bool,
    /// Was it brought up?
    pub(super) is_up: bool,
    /// The interface that it is a part of, a bridge mostly.
    pub(super) controller: Option<u32>,
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

    /// The number of an interface.
    ///
    /// # Errors
    /// ENODEV without it.
    pub(super) fn index(&mut self, name: &str) -> io::Result<u32> {
        let found = self.find(&By::Name(name))?;
        found
            .map(|interface| interface.index)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
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

fn interface(message: LinkMessage) -> Interface {
    let mut found = Interface {
        index: message.header.index,
        name: String::new(),
        mac: None,
        alternatives: Vec::new(),
        mtu: None,
        is_bridge: false,
        is_up: message.header.flags.contains(LinkFlags::Up),
        controller: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name = name,
            LinkAttribute::Address(mac) => found.mac = Some(mac),
            LinkAttribute::Mtu(bytes) => found.mtu = Some(bytes),
            LinkAttribute::Controller(index) => found.controller = Some(index),
            LinkAttribute::LinkInfo(info) => {
                found.is_bridge = info.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
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

fn family(of: IpAddr) -> AddressFamily {
    if of.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
