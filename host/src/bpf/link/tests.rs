//! What passes a link, and what doesn't: packets made byte by byte.

use proptest::prelude::*;

use super::*;
use crate::bpf::interpret_packet;

pub(super) const MAC: [u8; 6] = [2, 0x76, 0x73, 1, 0x9c, 0x40];
pub(super) const HOST: [u8; 6] = [2, 0x76, 0x73, 0, 0x9c, 0x40];

pub(super) fn own() -> Vec<IpAddr> {
    ["192.0.2.10", "198.51.100.7", "2001:db8::10", "2001:db8::ffff:11"]
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

pub(super) fn verdict(kind: Kind, addresses: &[IpAddr], packet: &[u8], vlan: bool) -> bool {
    let mut context = [0_u8; 64];
    context[VLAN_PRESENT as usize] = vlan.into();
    let filter = filter(kind, MAC, addresses, Then::Stay, None);
    let answer = interpret_packet(&filter, &mut context, packet);
    match answer as u32 as i32 {
        PASS => true,
        DROP => false,
        other => panic!("{other}"),
    }
}

fn passes_of(addresses: &[IpAddr], packet: &[u8], vlan: bool) -> bool {
    let routed = verdict(Kind::Routed, addresses, packet, vlan);
    // A network of many machines hears less.
    assert!(routed || !verdict(Kind::Segment, addresses, packet, vlan));
    routed
}

fn passes(packet: &[u8]) -> bool {
    passes_of(&own(), packet, false)
}

pub(super) fn frame(source: [u8; 6], kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
    [&HOST[..], &source, &kind, rest].concat()
}

pub(super) fn ipv4(source: Ipv4Addr) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    header.extend(source.octets());
    header.extend([203, 0, 113, 1]);
    header.extend([0; 8]);
    header
}

pub(super) fn ipv6(source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, 255];
    header.extend(source.octets());
    header.extend([0xff; 16]);
    header.extend(payload);
    header
}

pub(super) fn arp(operation: u8, speaker: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend(speaker);
    packet.extend(address.octets());
    packet.extend([0; 6]);
    packet.extend([169, 254, 1, 1]);
    packet
}

#[test]
fn a_header_is_of_the_frames_version() {
    for address in own() {
        let (kind, mut packet) = match address {
            IpAddr::V4(ip) => (IPV4, ipv4(ip)),
            IpAddr::V6(ip) => (IPV6, ipv6(ip, 6, &[0; 20])),
        };
        let own = packet[0] >> 4;
        for version in 0..16 {
            packet[0] = version << 4 | packet[0] & 15;
            for to in [Kind::Routed, Kind::Segment] {
                let passes = verdict(to, &self::own(), &frame(MAC, kind, &packet), false);
                assert!(version == own || !passes, "{address} {version} {to:?}");
            }
        }
    }
}

#[test]
fn own_addresses_pass() {
    for address in own() {
        let (kind, packet) = match address {
            IpAddr::V4(ip) => (IPV4, ipv4(ip)),
            IpAddr::V6(ip) => (IPV6, ipv6(ip, 6, &[0; 20])),
        };
        assert!(passes(&frame(MAC, kind, &packet)), "{address}");
        assert!(!passes(&frame(HOST, kind, &packet)), "another hardware address");
        assert!(!passes_of(&own(), &frame(MAC, kind, &packet), true), "a VLAN tag");
        assert!(!passes_of(&[], &frame(MAC, kind, &packet), false), "no address");
    }
}

#[test]
fn neighbours_are_asked_for_and_nothing_else_from_a_link_local_address() {
    let local = link_local(MAC);
    assert_eq!(local.to_string(), "fe80::76:73ff:fe01:9c40");
    for kind in 0..=255_u8 {
        let packet = frame(MAC, IPV6, &ipv6(local, 58, &[kind, 0, 0, 0]));
        assert_eq!(passes(&packet), kind == 135 || kind == 136, "{kind}");
    }
    // A router advertisement in a fragment, or behind options.
    for header in [0, 43, 44, 60] {
        let packet = ipv6(local, header, &[58, 0, 0, 0, 0, 0, 0, 0, 135, 0]);
        assert!(!passes(&frame(MAC, IPV6, &packet)), "{header}");
    }
    let of_another = ipv6("fe80::1".parse().expect("an address"), 58, &[135, 0, 0, 0]);
    assert!(!passes(&frame(MAC, IPV6, &of_another)));
    let of_nobody = ipv6(Ipv6Addr::UNSPECIFIED, 58, &[135, 0, 0, 0]);
    assert!(!passes(&frame(MAC, IPV6, &of_nobody)));
    // A guest without IPv6 has no such address either.
    let v4: Vec<_> = own().into_iter().filter(IpAddr::is_ipv4).collect();
    let solicitation = frame(MAC, IPV6, &ipv6(local, 58, &[135, 0, 0, 0]));
    assert!(!passes_of(&v4, &solicitation, false));
}

#[test]
fn arp_speaks_of_own_addresses() {
    let own: Ipv4Addr = "192.0.2.10".parse().expect("an address");
    let gateway: Ipv4Addr = "169.254.1.1".parse().expect("an address");
    for operation in [1, 2] {
        assert!(passes(&frame(MAC, ARP, &arp(operation, MAC, own))));
        assert!(!passes(&frame(MAC, ARP, &arp(operation, HOST, own))));
        assert!(!passes(&frame(MAC, ARP, &arp(operation, MAC, gateway))));
        assert!(!passes(&frame(MAC, ARP, &arp(operation, MAC, Ipv4Addr::UNSPECIFIED))));
    }
    // For another protocol, or longer hardware addresses.
    let mut packet = arp(1, MAC, own);
    packet[3] = 1;
    assert!(!passes(&frame(MAC, ARP, &packet)));
}

proptest! {
    #[test]
    fn foreign_sources_never_pass(source: IpAddr, next: u8, payload: Vec<u8>) {
        prop_assume!(!own().contains(&source));
        let packet = match source {
            IpAddr::V4(ip) => frame(MAC, IPV4, &ipv4(ip)),
            IpAddr::V6(ip) => frame(MAC, IPV6, &ipv6(ip, next, &payload[..payload.len().min(200)])),
        };
        prop_assert!(!passes(&packet));
    }

    #[test]
    fn what_is_cut_short_or_of_another_kind_is_dropped(kind: [u8; 2], rest: Vec<u8>, length: usize) {
        let packet = frame(MAC, kind, &rest);
        let known = [IPV4, IPV6, ARP].contains(&kind);
        prop_assume!(!known);
        prop_assert!(!passes(&packet));
        let Some(IpAddr::V4(first)) = own().first().copied() else { unreachable!() };
        let whole = frame(MAC, IPV4, &ipv4(first));
        prop_assert!(!passes(&whole[..length % 34]));
    }
}
