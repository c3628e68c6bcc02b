//! Interfaces: made, named, joined, filtered, removed.

use std::io;

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoMacVlan, InfoVeth,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode, Prop,
};
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};

use super::{NEW, Netlink};
use crate::plan::network::Mac;

/// Where a program sees the packets of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Place {
    /// As they arrive.
    Arrival,
    /// As they leave by it.
    Departure,
}

impl Netlink {
    /// Makes a pair of virtual Ethernet interfaces (veth(4)), both down; the
    /// peer in the network namespace of process `pid`. Without `mtu` they have
    /// the usual one.
    pub(in crate::net) fn make_pair(
        &mut self,
        (name, mac): (&str, Mac),
        (peer, peer_mac): (&str, Mac),
        mtu: Option<u32>,
        pid: u32,
    ) -> io::Result<()> {
        let mut other = LinkMessage::default();
        other.attributes = vec![
            LinkAttribute::IfName(peer.to_owned()),
            LinkAttribute::Address(peer_mac.to_vec()),
            LinkAttribute::NetNsPid(pid),
        ];
        other.attributes.extend(mtu.map(LinkAttribute::Mtu));
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
            ]),
        ];
        message.attributes.extend(mtu.map(LinkAttribute::Mtu));
        self.order(Message::NewLink(message), NEW)
    }

    /// Makes an interface with a hardware address of its own on the network of
    /// another one (`macvlan`, ip-link(8)), down. With others of its kind there
    /// it talks as if on a bridge.
    pub(in crate::net) fn make_macvlan(
        &mut self,
        (name, mac): (&str, Mac),
        parent: u32,
    ) -> io::Result<()> {
        let mode = InfoMacVlan::Mode(MacVlanMode::Bridge);
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::Link(parent),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![mode])),
            ]),
        ];
        self.order(Message::NewLink(message), NEW)
    }

    /// Makes an interface a part of another one: a bridge's port.
    pub(in crate::net) fn join(&mut self, index: u32, controller: u32) -> io::Result<()> {
        let mut message = link(index);
        message.attributes = vec![LinkAttribute::Controller(controller)];
        self.order(Message::SetLink(message), 0)
    }

    /// Gives an interface another name (ip-link(8), `altname`).
    pub(in crate::net) fn add_name(&mut self, index: u32, name: &str) -> io::Result<()> {
        let mut message = link(index);
        message.attributes = vec![LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())])];
        self.order(Message::NewLinkProp(message), NEW)
    }

    /// Lets the kernel make no IPv6 address for an interface by itself, which
    /// it does as soon as it is up.
    pub(in crate::net) fn leave_without_address(&mut self, index: u32) -> io::Result<()> {
        let mut message = link(index);
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        message.attributes =
            vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])];
        self.order(Message::SetLink(message), 0)
    }

    /// Brings an interface up.
    pub(in crate::net) fn bring_up(&mut self, index: u32) -> io::Result<()> {
        let mut message = link(index);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.order(Message::SetLink(message), 0)
    }

    /// Brings an interface up that takes the packets of all groups.
    pub(in crate::net) fn bring_up_for_groups(&mut self, index: u32) -> io::Result<()> {
        let mut message = link(index);
        message.header.flags = LinkFlags::Up | LinkFlags::Allmulti;
        message.header.change_mask = LinkFlags::Up | LinkFlags::Allmulti;
        self.order(Message::SetLink(message), 0)
    }

    /// Removes an interface, with its peer.
    pub(in crate::net) fn remove(&mut self, index: u32) -> io::Result<()> {
        self.order(Message::DelLink(link(index)), 0)
    }

    /// Has a program see the packets that pass there (tc-bpf(8),
    /// `direct-action`).
    pub(in crate::net) fn filter(
        &mut self,
        index: u32,
        place: Place,
        program: u32,
        name: &str,
    ) -> io::Result<()> {
        let minor = match place {
            Place::Arrival => TcHandle::MIN_INGRESS,
            Place::Departure => TcHandle::MIN_EGRESS,
        };
        let mut header = tc(index, TcHandle { major: u16::MAX, minor });
        // Every protocol (ETH_P_ALL, 3) in network byte order.
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

    /// Makes the places at which an interface has its filters (`clsact`,
    /// tc(8)).
    pub(in crate::net) fn make_filterable(&mut self, index: u32) -> io::Result<()> {
        let mut header = tc(index, TcHandle::CLSACT);
        header.handle = TcHandle { major: u16::MAX, minor: 0 };
        let attributes = vec![TcAttribute::Kind("clsact".to_owned())];
        self.order(Message::NewQueueDiscipline(TcMessage::from_parts(header, attributes)), NEW)
    }
}

fn link(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn tc(index: u32, parent: TcHandle) -> TcHeader {
    TcHeader { index: index.cast_signed(), parent, ..TcHeader::default() }
}
