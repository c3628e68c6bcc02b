//! Packets that leave and arrive, and sockets that are made.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{both, ips4, ips6, some};
use crate::bpf::addresses::{Addresses, create, packets};
use crate::bpf::traffic::Way;
use crate::bpf::{Program, interpret, interpret_packet};

fn packet4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend([0; 8]);
    packet
}

fn packet6(source: Ipv6Addr, destination: Ipv6Addr, next: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 8, next, 64];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend([0; 8]);
    packet
}

fn passes(program: &Program, packet: &[u8], interface: u8) -> bool {
    let mut context = [0_u8; 64];
    context[40] = interface;
    interpret_packet(program, &mut context, packet) == 1
}

/// Is it one that means the machine itself?
fn is_inside(addresses: &Addresses, ip: IpAddr) -> bool {
    ip.is_loopback() || addresses.loopback6.is_some_and(|own| ip == own)
}

/// What is meant, in other words.
fn may_pass(
    addresses: &Addresses,
    (source, destination): (IpAddr, IpAddr),
    is_out: bool,
    is_echo: bool,
    by_loopback: bool,
) -> bool {
    let is_local = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip == Ipv4Addr::LOCALHOST,
        IpAddr::V6(ip) => ip == Ipv6Addr::LOCALHOST,
    };
    if is_inside(addresses, source) || is_inside(addresses, destination) {
        if source.is_ipv6() && !is_out && !by_loopback {
            return false;
        }
        let own = addresses.has(source) && addresses.has(destination);
        return own || is_echo && is_local(source) && is_local(destination);
    }
    let judged = if is_out { source } else { destination };
    let is_broadcast =
        |ip| !is_out && addresses.broadcasts.iter().any(|own| ip == IpAddr::V4(*own));
    addresses.has(judged) || is_broadcast(judged)
}

proptest! {
    #[test]
    fn packets_of_ipv4_have_own_addresses(
        addresses in some(), source in ips4(), destination in ips4(), is_out: bool,
        protocol in proptest::sample::select(vec![1_u8, 6, 17]), interface in 1..=2_u8,
    ) {
        let program =
            packets::program(&addresses, if is_out { Way::Out } else { Way::In }, None);
        let expected = may_pass(
            &addresses, (source.into(), destination.into()), is_out, protocol == 1, interface == 1,
        );
        let packet = packet4(source, destination, protocol);
        prop_assert_eq!(passes(&program, &packet, interface), expected);
    }

    #[test]
    fn packets_of_ipv6_have_own_addresses(
        addresses in some(), source in ips6(), destination in ips6(), is_out: bool,
        next in proptest::sample::select(vec![0_u8, 6, 17, 58]), interface in 1..=2_u8,
    ) {
        let program =
            packets::program(&addresses, if is_out { Way::Out } else { Way::In }, None);
        let expected = may_pass(
            &addresses, (source.into(), destination.into()), is_out, next == 58, interface == 1,
        );
        let packet = packet6(source, destination, next);
        prop_assert_eq!(passes(&program, &packet, interface), expected);
    }

    #[test]
    fn what_is_cut_or_of_another_version_is_dropped(
        length in 0..48_usize, version in 0..16_u8, is_out: bool,
    ) {
        let addresses = both();
        let own = addresses.v6[0].0;
        let program =
            packets::program(&addresses, if is_out { Way::Out } else { Way::In }, None);
        let mut packet = packet6(own, own, 17);
        packet[0] = version << 4 | packet[0] & 15;
        packet.truncate(length);
        prop_assert_eq!(passes(&program, &packet, 2), version == 6 && length >= 40);
    }

    #[test]
    fn only_tcp_udp_and_pings_are_made(kind in 1..=10_u32, protocol in prop_oneof![0..=300_u32, Just(6), Just(17), Just(1), Just(58)]) {
        let mut context = [0_u8; 80];
        context[8..12].copy_from_slice(&kind.to_ne_bytes());
        context[12..16].copy_from_slice(&protocol.to_ne_bytes());
        let expected = matches!((kind, protocol), (1, 6) | (2, 1 | 17 | 58));
        prop_assert_eq!(interpret(&create::filter(), &mut context) == 1, expected);
    }
}
