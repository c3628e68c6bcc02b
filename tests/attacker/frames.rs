//! Frames on the guest's link, made byte by byte as only its root can
//! (packet(7)).

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Ethernet2Header, IpFragOffset, IpHeaders,
    IpNumber, Ipv4Header, Ipv4Options, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header,
    Ipv6RawExtHeader, Ipv6RoutingExtensions, PacketBuilder, VlanId,
};
use nix::net::if_::if_nametoindex;

use crate::capture::MARK;
use crate::outcome::{Attempt, Failure, Prepare, untried};
use crate::sys::Arg::{Bytes, N};
use crate::sys::{self};

/// Every protocol (`ETH_P_ALL`, linux/if_ether.h).
pub(crate) const ALL: u16 = 3;

/// The link, from inside.
const LINK: &str = "eth0";

/// What a frame is made of.
pub(crate) struct Parts {
    pub(crate) mac: [u8; 6],
    pub(crate) gateway: [u8; 6],
    pub(crate) own: Ipv4Addr,
    pub(crate) own6: Ipv6Addr,
    pub(crate) foreign: Ipv4Addr,
    pub(crate) foreign6: Ipv6Addr,
    target: Ipv4Addr,
    target6: Ipv6Addr,
}

/// Sends a frame of this kind. The addresses are the guest's own, those that
/// it claims, and the target's, each of IPv4 and of IPv6, with commas.
pub fn send(kind: &str, own: &str, foreign: &str, target: &str) -> Attempt {
    let (own, own6) = pair(own)?;
    let (foreign, foreign6) = pair(foreign)?;
    let (target, target6) = pair(target)?;
    let mac = own_mac()?;
    let parts =
        Parts { mac, gateway: gateway_mac()?, own, own6, foreign, foreign6, target, target6 };
    let Some(frame) = parts.frame(kind) else { return untried(format!("no frame '{kind}'")) };
    let socket = packet_socket(LINK, ALL)?;
    sys::call(libc::SYS_write, &[N(socket), Bytes(&frame), N(frame.len() as i64)])?;
    Ok(format!("sent {} bytes", frame.len()))
}

fn pair(text: &str) -> Result<(Ipv4Addr, Ipv6Addr), Failure> {
    let parsed =
        text.split_once(',').and_then(|(v4, v6)| Some((v4.parse().ok()?, v6.parse().ok()?)));
    parsed.map_or_else(|| untried(format!("'{text}' is no pair of addresses")), Ok)
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> =
        text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

fn own_mac() -> Result<[u8; 6], Failure> {
    let text = fs::read_to_string(format!("/sys/class/net/{LINK}/address")).prepare("the link")?;
    mac(&text).map_or_else(|| untried("the link has no hardware address"), Ok)
}

/// The host's end, which the guest's kernel knows from the start; everybody
/// where the host isn't the gateway.
fn gateway_mac() -> Result<[u8; 6], Failure> {
    const EVERYBODY: [u8; 6] = [0xff; 6];
    let table = fs::read_to_string("/proc/net/arp").prepare("the neighbours")?;
    let line = table.lines().find(|line| line.starts_with("169.254.1.1 "));
    let found = line.map(|line| mac(line.split_ascii_whitespace().nth(3)?));
    found.map_or(Ok(EVERYBODY), |mac| mac.map_or_else(|| untried("a strange neighbour"), Ok))
}

/// A packet socket of this interface and this protocol alone.
pub(crate) fn packet_socket(interface: &str, protocol: u16) -> Result<i64, Failure> {
    let index = if_nametoindex(interface).map_err(io::Error::from).prepare("the interface")?;
    let socket = [libc::AF_PACKET, libc::SOCK_RAW, protocol.to_be().into()];
    let socket = sys::call(libc::SYS_socket, &socket.map(|value| N(value.into())))?;
    // struct sockaddr_ll
    let mut address = (libc::AF_PACKET as u16).to_ne_bytes().to_vec();
    address.extend(protocol.to_be_bytes());
    address.extend(index.to_ne_bytes());
    address.resize(size_of::<libc::sockaddr_ll>(), 0);
    let size = N(address.len() as i64);
    sys::call(libc::SYS_bind, &[N(socket), Bytes(&address), size])?;
    Ok(socket)
}

impl Parts {
    fn frame(&self, kind: &str) -> Option<Vec<u8>> {
        let payload = format!("{MARK}{kind}:").into_bytes();
        let mut bytes = Vec::new();
        let written = match kind {
            "own4" | "foreign4" | "gateway4" | "host4" | "options4" | "fragment4" | "rest4"
            | "mac" | "tunnel4" => {
                let link = self.link(if kind == "mac" { self.stranger() } else { self.mac });
                let builder = link.ip(IpHeaders::Ipv4(self.ipv4(kind), Default::default()));
                builder.udp(9, 9).write(&mut bytes, &payload)
            }
            "ping4" => {
                let link = self.link(self.mac).ipv4(self.foreign.octets(), self.target.octets(), 9);
                link.icmpv4_echo_request(1, 1).write(&mut bytes, &payload)
            }
            "ping6" => {
                let (own, target) = (self.foreign6.octets(), self.target6.octets());
                let link = self.link(self.mac).ipv6(own, target, 9);
                link.icmpv6_echo_request(1, 1).write(&mut bytes, &payload)
            }
            "vlan" => {
                let link = self.link(self.mac).single_vlan(VlanId::try_new(5).ok()?);
                let link = link.ipv4(self.own.octets(), self.target.octets(), 9);
                link.udp(9, 9).write(&mut bytes, &payload)
            }
            "vlans" => {
                let (outer, inner) = (VlanId::try_new(0).ok()?, VlanId::try_new(5).ok()?);
                let link = self.link(self.mac).double_vlan(outer, inner);
                let link = link.ipv4(self.foreign.octets(), self.target.octets(), 9);
                link.udp(9, 9).write(&mut bytes, &payload)
            }
            "own6" | "foreign6" | "gateway6" | "nobody6" | "local6" | "options6" | "routing6"
            | "fragment6" | "destination6" | "home6" | "mapped6" | "disguised6" => {
                let (header, extensions) = self.ipv6(kind)?;
                let link = self.link(self.mac).ip(IpHeaders::Ipv6(header, extensions));
                let written = link.udp(9, 9).write(&mut bytes, &payload);
                if kind == "disguised6" {
                    // By its type IPv4, and where that has its source the own one.
                    bytes[12..14].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
                    bytes[26..30].copy_from_slice(&self.own.octets());
                }
                written
            }
            "arp-foreign"
            | "arp-gateway"
            | "arp-host"
            | "arp-announcement"
            | "arp-announcement-gateway" => {
                let link = self.link(self.mac).arp(self.arp(kind)?);
                return link.write(&mut bytes).ok().map(|()| bytes);
            }
            "advertise-foreign" | "advertise-gateway" | "router" | "redirect" => {
                return Some(self.neighbour(kind, &payload));
            }
            "mpls" | "pppoe" | "lldp" | "llc" => {
                let number = match kind {
                    "mpls" => 0x8847,
                    "pppoe" => 0x8864,
                    "lldp" => 0x88cc,
                    // A length, not a type (IEEE 802.3).
                    _ => payload.len() as u16,
                };
                let header = Ethernet2Header {
                    source: self.mac,
                    destination: self.gateway,
                    ether_type: EtherType(number),
                };
                bytes.extend(header.to_bytes());
                bytes.extend(payload);
                return Some(bytes);
            }
            _ => return self.on_a_segment(kind, &payload),
        };
        written.ok().map(|()| bytes)
    }

    fn link(&self, source: [u8; 6]) -> etherparse::PacketBuilderStep<Ethernet2Header> {
        PacketBuilder::ethernet2(source, self.gateway)
    }

    /// A hardware address that is nobody's.
    pub(crate) fn stranger(&self) -> [u8; 6] {
        let [a, b, c, d, e, f] = self.mac;
        [a, b, c, d, e, f ^ 1]
    }

    /// The link-local address of the guest's kernel (RFC 4291, appendix A).
    pub(crate) fn local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac.map(u16::from);
        Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
    }

    fn ipv4(&self, kind: &str) -> Ipv4Header {
        let source = match kind {
            "own4" | "options4" | "mac" => self.own,
            "gateway4" => Ipv4Addr::new(169, 254, 1, 1),
            "host4" => Ipv4Addr::new(203, 0, 113, 1),
            _ => self.foreign,
        };
        let target = self.target.octets();
        let protocol = if kind == "tunnel4" { IpNumber::IPV4 } else { IpNumber::UDP };
        let mut header =
            Ipv4Header::new(0, 9, protocol, source.octets(), target).unwrap_or_default();
        header.more_fragments = kind == "fragment4";
        if kind == "rest4" {
            header.fragment_offset = IpFragOffset::try_new(185).unwrap_or_default();
        }
        if kind == "options4" {
            // Loose source route (RFC 791), by the host to the target.
            let mut options = vec![131, 7, 4];
            options.extend(target);
            options.push(0);
            header.options = Ipv4Options::try_from(&options[..]).unwrap_or_default();
            header.destination = [203, 0, 113, 1];
        }
        header
    }

    fn ipv6(&self, kind: &str) -> Option<(Ipv6Header, Ipv6Extensions)> {
        let source = match kind {
            "own6" => self.own6,
            "gateway6" => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            "nobody6" => Ipv6Addr::UNSPECIFIED,
            "local6" => self.local(),
            "mapped6" => self.foreign.to_ipv6_mapped(),
            _ => self.foreign6,
        };
        // Six bytes of padding (RFC 8200, 4.2).
        let options = Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[1, 4, 0, 0, 0, 0]).ok()?;
        let mut extensions = Ipv6Extensions::default();
        match kind {
            "options6" => extensions.hop_by_hop_options = Some(options),
            "destination6" => extensions.destination_options = Some(options),
            "home6" => {
                // The own address as the sender's at home (RFC 6275, 6.3).
                let home = [&[1, 2, 0, 0, 201, 16][..], &self.own6.octets()].concat();
                let options = Ipv6RawExtHeader::new_raw(IpNumber::UDP, &home).ok()?;
                extensions.destination_options = Some(options);
            }
            "routing6" => {
                // Type 0, nothing left to visit.
                let routing = Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[0; 6]).ok()?;
                extensions.routing =
                    Some(Ipv6RoutingExtensions { routing, final_destination_options: None });
            }
            "fragment6" => {
                let offset = IpFragOffset::try_new(0).ok()?;
                let fragment = Ipv6FragmentHeader::new(IpNumber::UDP, offset, true, 1);
                extensions.fragment = Some(fragment);
            }
            _ => {}
        }
        let header = Ipv6Header {
            hop_limit: 9,
            source: source.octets(),
            destination: self.target6.octets(),
            ..Ipv6Header::default()
        };
        Some((header, extensions))
    }

    fn arp(&self, kind: &str) -> Option<ArpPacket> {
        let claimed = match kind {
            "arp-gateway" | "arp-announcement-gateway" => Ipv4Addr::new(169, 254, 1, 1),
            "arp-host" => Ipv4Addr::new(203, 0, 113, 1),
            _ => self.foreign,
        };
        let is_announced = kind.starts_with("arp-announcement");
        let operation = if is_announced { ArpOperation::REQUEST } else { ArpOperation::REPLY };
        let (claimed, target) = (claimed.octets(), self.target.octets());
        ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            operation,
            &self.mac,
            &claimed,
            &self.gateway,
            if is_announced { &claimed } else { &target },
        )
        .ok()
    }

    /// Messages of neighbour discovery (RFC 4861), to all nodes.
    fn neighbour(&self, kind: &str, payload: &[u8]) -> Vec<u8> {
        let gateway = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let everybody = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let (source, number, rest) = match kind {
            // Flags: solicited, override.
            "advertise-foreign" => (self.foreign6, 136, self.foreign6.octets().to_vec()),
            "advertise-gateway" => (gateway, 136, gateway.octets().to_vec()),
            // Reachable and retransmission time.
            "router" => (self.local(), 134, vec![0; 8]),
            _ => (gateway, 137, [self.target6.octets(), self.local().octets()].concat()),
        };
        let head = if number == 134 { [64, 0, 255, 255] } else { [0x60, 0, 0, 0] };
        let body = [&rest[..], payload].concat();
        let builder = PacketBuilder::ethernet2(self.mac, self.gateway);
        let builder = builder.ipv6(source.octets(), everybody.octets(), 255);
        let mut bytes = Vec::new();
        let written = builder.icmpv6_raw(number, 0, head).write(&mut bytes, &body);
        written.map_or_else(|_| Vec::new(), |()| bytes)
    }
}
