//! Frames that a network of many machines believes, where a router doesn't
//! care: what is said of addresses, and what only a router or a server says.
//!
//! The mark stands behind the packet's own end, where nobody looks who judges
//! the packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpHeaders, IpNumber, Ipv4Header,
    PacketBuilder,
};

use crate::frames::Parts;

const EVERYBODY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl Parts {
    /// A frame of this kind.
    pub(crate) fn on_a_segment(&self, kind: &str, mark: &[u8]) -> Option<Vec<u8>> {
        let nobody = Ipv6Addr::UNSPECIFIED;
        let (own6, foreign6) = (self.own6, self.foreign6);
        let mut bytes = match kind {
            "dhcp4" => self.datagram4(67, 68)?,
            "dhcp6" => self.datagram6(547, 546)?,
            "redirect4" => self.packet4(IpNumber::ICMP, &[5, 1, 0, 0, 203, 0, 113, 1])?,
            "router4" => self.packet4(IpNumber::ICMP, &[9, 0, 0, 0, 1, 2, 0, 60])?,
            "igmp-query" => self.packet4(IpNumber::IGMP, &[0x11, 1, 0, 0, 0, 0, 0, 0])?,
            "vrrp" => self.packet4(IpNumber(112), &[0x31, 1, 255, 1, 0, 100, 0, 0])?,
            "arp-own" => self.arp_of(ArpOperation::REPLY, self.mac, self.own, self.own)?,
            "arp-mac" => self.arp_of(ArpOperation::REPLY, self.stranger(), self.own, self.own)?,
            "arp-probe" => self.arp_of(ArpOperation::REQUEST, self.mac, nobody4(), self.own)?,
            "arp-probe-foreign" => {
                self.arp_of(ArpOperation::REQUEST, self.mac, nobody4(), self.foreign)?
            }
            "advertise-own" => self.discovery(own6, 136, own6, Some((2, self.mac)))?,
            "advertise-mac" => self.discovery(own6, 136, own6, Some((2, self.stranger())))?,
            "advertise-by-own" => self.discovery(own6, 136, foreign6, Some((2, self.mac)))?,
            "advertise-by-local" => {
                self.discovery(self.local(), 136, foreign6, Some((2, self.mac)))?
            }
            "advertise-hidden" => {
                // The same behind six bytes of padding (RFC 8200, 4.6).
                let mut bytes = self.discovery(own6, 136, foreign6, Some((2, self.mac)))?;
                bytes.splice(54..54, [58, 0, 1, 4, 0, 0, 0, 0]);
                // Its length, and what follows the header.
                bytes[19] += 8;
                bytes[20] = 60;
                bytes
            }
            "solicit-own" => self.discovery(own6, 135, foreign6, Some((1, self.mac)))?,
            "solicit-mac" => self.discovery(own6, 135, foreign6, Some((1, self.stranger())))?,
            "solicit-foreign" => self.discovery(foreign6, 135, own6, Some((1, self.mac)))?,
            "dad-own" => self.discovery(nobody, 135, own6, None)?,
            "dad-foreign" => self.discovery(nobody, 135, foreign6, None)?,
            "router-own" => self.discovery(own6, 134, own6, None)?,
            "mld-query" => self.report(130)?,
            "mld-report" => self.report(131)?,
            _ => return None,
        };
        bytes.extend(mark);
        Some(bytes)
    }

    fn packet4(&self, protocol: IpNumber, body: &[u8]) -> Option<Vec<u8>> {
        let target = [224, 0, 0, 1];
        let length = body.len().try_into().ok()?;
        let header = Ipv4Header::new(length, 1, protocol, self.own.octets(), target).ok()?;
        let builder = PacketBuilder::ethernet2(self.mac, self.gateway);
        let builder = builder.ip(IpHeaders::Ipv4(header, Default::default()));
        let mut bytes = Vec::new();
        builder.write(&mut bytes, protocol, body).ok()?;
        Some(bytes)
    }

    fn datagram4(&self, from: u16, to: u16) -> Option<Vec<u8>> {
        let builder = PacketBuilder::ethernet2(self.mac, self.gateway);
        let builder = builder.ipv4(self.own.octets(), [255; 4], 9).udp(from, to);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &[2, 1, 6, 0]).ok()?;
        Some(bytes)
    }

    fn datagram6(&self, from: u16, to: u16) -> Option<Vec<u8>> {
        let builder = PacketBuilder::ethernet2(self.mac, self.gateway);
        let builder = builder.ipv6(self.own6.octets(), EVERYBODY.octets(), 9).udp(from, to);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &[2, 1, 6, 0]).ok()?;
        Some(bytes)
    }

    fn arp_of(
        &self,
        operation: ArpOperation,
        speaker: [u8; 6],
        address: Ipv4Addr,
        target: Ipv4Addr,
    ) -> Option<Vec<u8>> {
        let (address, target) = (address.octets(), target.octets());
        let (hardware, protocol) = (ArpHardwareId::ETHERNET, EtherType::IPV4);
        let packet =
            ArpPacket::new(hardware, protocol, operation, &speaker, &address, &[0; 6], &target);
        let builder = PacketBuilder::ethernet2(self.mac, self.gateway).arp(packet.ok()?);
        let mut bytes = Vec::new();
        builder.write(&mut bytes).ok()?;
        Some(bytes)
    }

    /// A message of neighbour discovery (RFC 4861) with one option.
    fn discovery(
        &self,
        source: Ipv6Addr,
        number: u8,
        target: Ipv6Addr,
        option: Option<(u8, [u8; 6])>,
    ) -> Option<Vec<u8>> {
        let mut body = target.octets().to_vec();
        if let Some((kind, mac)) = option {
            body.extend([kind, 1]);
            body.extend(mac);
        }
        let builder = PacketBuilder::ethernet2(self.mac, self.gateway);
        let builder = builder.ipv6(source.octets(), EVERYBODY.octets(), 255);
        let mut bytes = Vec::new();
        builder.icmpv6_raw(number, 0, [0x20, 0, 0, 0]).write(&mut bytes, &body).ok()?;
        Some(bytes)
    }

    /// A message about groups (RFC 2710), behind the option that makes routers
    /// look (RFC 2711).
    fn report(&self, number: u8) -> Option<Vec<u8>> {
        let mut bytes = self.discovery(self.local(), number, EVERYBODY, None)?;
        bytes.splice(54..54, [58, 0, 5, 2, 0, 0, 1, 0]);
        bytes[19] += 8;
        bytes[20] = 0;
        bytes[21] = 1;
        Some(bytes)
    }
}

fn nobody4() -> Ipv4Addr {
    Ipv4Addr::UNSPECIFIED
}
