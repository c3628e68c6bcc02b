//! What a network of many machines hears of a guest: packets made byte by
//! byte.

use proptest::prelude::*;

use super::super::tests::{HOST, MAC, arp, frame, ipv4, ipv6, own, verdict};
use super::super::{ARP, IPV4, IPV6, Kind};
use super::*;

const NEIGHBOUR: &str = "2001:db8::99";
const OTHER: [u8; 6] = HOST;

fn passes(packet: &[u8]) -> bool {
    verdict(Kind::Segment, &own(), packet, false)
}

fn ip<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("an address")
}

/// IPv4 from the guest, with this protocol and this behind a header of `words`.
fn own4(protocol: u8, words: u8, offset: u16, body: &[u8]) -> Vec<u8> {
    let mut header = ipv4(ip("192.0.2.10"))[..20].to_vec();
    header[0] = 0x40 | words;
    header[6..8].copy_from_slice(&offset.to_be_bytes());
    header[9] = protocol;
    header.resize(usize::from(words) * 4, 0);
    header.extend(body);
    frame(MAC, IPV4, &header)
}

fn own6(next: u8, body: &[u8]) -> Vec<u8> {
    frame(MAC, IPV6, &ipv6(ip("2001:db8::10"), next, body))
}

fn local6(next: u8, body: &[u8]) -> Vec<u8> {
    frame(MAC, IPV6, &ipv6(link_local(MAC), next, body))
}

fn nobody6(next: u8, body: &[u8]) -> Vec<u8> {
    frame(MAC, IPV6, &ipv6(ip("::"), next, body))
}

/// A message of neighbour discovery about `target`.
fn about(kind: u8, target: &str, option: &[u8]) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0, 0x60, 0, 0, 0];
    body.extend(ip::<std::net::Ipv6Addr>(target).octets());
    body.extend(option);
    body
}

fn with_mac(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

#[test]
fn protocols_pass_by_a_list() {
    for protocol in 0..=255_u8 {
        // A type of each that passes: an echo, a report, a port.
        let body = match protocol {
            2 => [0x16, 0, 0, 0],
            _ => [8, 0, 0, 53],
        };
        let known = [1, 2, 4, 6, 17, 41, 47, 50, 132, 136].contains(&protocol);
        assert_eq!(passes(&own4(protocol, 5, 0, &body)), known, "{protocol}");
        let body = [128, 0, 0, 53];
        // As a fragment's header it is a later one's.
        let known = [4, 6, 17, 41, 44, 47, 50, 58, 132, 136].contains(&protocol);
        assert_eq!(passes(&own6(protocol, &[&body[..], &[0; 20]].concat())), known, "{protocol}");
    }
}

#[test]
fn nothing_is_told_that_makes_a_router_or_serves_dhcp() {
    for (protocol, body) in [(1, [5, 1, 0, 0]), (1, [9, 0, 0, 0]), (2, [0x11, 0, 0, 0])] {
        assert!(!passes(&own4(protocol, 5, 0, &body)), "{protocol}: {body:?}");
    }
    for words in [5, 6, 15] {
        // From port 67 to port 68.
        assert!(!passes(&own4(17, words, 0, &[0, 67, 0, 68])), "{words}");
        assert!(passes(&own4(17, words, 0, &[0, 68, 0, 67])), "{words}");
        // The front of a packet that was cut, and what follows.
        assert!(!passes(&own4(17, words, 0x2000, &[0, 67, 0, 68])), "{words}");
        assert!(passes(&own4(17, words, 0x2001, &[0, 67, 0, 68])), "{words}");
    }
    assert!(!passes(&own4(17, 4, 0, &[0, 1, 0, 1])), "no header");
    assert!(!passes(&own6(17, &[2, 35, 2, 34])), "DHCPv6");
    assert!(passes(&own6(17, &[2, 34, 2, 35])), "a client of DHCPv6");
    for kind in [130, 133, 134, 137, 138, 139, 151, 152, 153] {
        for packet in [own6, local6, nobody6] {
            assert!(!passes(&packet(58, &about(kind, NEIGHBOUR, &[]))), "{kind}");
        }
    }
}

#[test]
fn nothing_is_hidden_behind_extension_headers() {
    let claim = about(136, NEIGHBOUR, &with_mac(2, MAC));
    for header in [0, 43, 44, 51, 60, 135, 139, 140, 253, 254] {
        let packet = own6(header, &[&[58, 0, 0, 0, 0, 0, 0, 0][..], &claim].concat());
        assert!(!passes(&packet), "{header}");
        for inner in [17, 60, 0, 43, 44] {
            let packet = own6(header, &[inner, 0, 0, 0, 0, 0, 0, 0, 2, 35, 2, 34]);
            assert!(!passes(&packet), "{header} {inner}");
        }
    }
    // Fragments: the first one, and a later one.
    assert!(passes(&own6(44, &[17, 0, 0, 1, 0, 0, 0, 1, 0, 9, 0, 9])));
    assert!(passes(&own6(44, &[17, 0, 0, 8, 0, 0, 0, 1, 2, 35, 2, 34])));
    assert!(passes(&own6(44, &[58, 0, 0, 1, 0, 0, 0, 1, 128, 0, 0, 0])));
}

#[test]
fn neighbours_hear_of_own_addresses_with_the_own_hardware_address() {
    let local = link_local(MAC).to_string();
    for packet in [own6, local6] {
        // Asked is for whomever.
        for (option, right) in [
            (vec![], true),
            (with_mac(1, MAC), true),
            (with_mac(1, OTHER), false),
            (with_mac(2, MAC), false),
            (with_mac(14, OTHER), true),
            ([with_mac(14, OTHER), with_mac(1, OTHER)].concat(), false),
        ] {
            assert_eq!(passes(&packet(58, &about(135, NEIGHBOUR, &option))), right, "{option:?}");
        }
        for (target, option, right) in [
            ("2001:db8::10", with_mac(2, MAC), true),
            ("2001:db8::ffff:11", vec![], true),
            (&local, with_mac(2, MAC), true),
            ("2001:db8::10", with_mac(2, OTHER), false),
            ("2001:db8::10", with_mac(1, MAC), false),
            ("2001:db8::10", [with_mac(2, MAC), with_mac(2, OTHER)].concat(), false),
            (NEIGHBOUR, with_mac(2, MAC), false),
            (NEIGHBOUR, vec![], false),
            ("fe80::1", with_mac(2, MAC), false),
        ] {
            let body = about(136, target, &option);
            assert_eq!(passes(&packet(58, &body)), right, "{target} {option:?}");
        }
    }
}

#[test]
fn an_own_address_is_asked_for_before_it_is_used() {
    let local = link_local(MAC).to_string();
    for (target, option, right) in [
        ("2001:db8::10", vec![], true),
        (local.as_str(), with_mac(14, OTHER), true),
        (NEIGHBOUR, vec![], false),
        ("2001:db8::10", with_mac(1, MAC), false),
    ] {
        let body = about(135, target, &option);
        assert_eq!(passes(&nobody6(58, &body)), right, "{target} {option:?}");
        assert!(!passes(&nobody6(58, &about(136, target, &option))), "{target} {option:?}");
    }
    let probe = |operation, target| {
        let mut packet = arp(operation, MAC, ip("0.0.0.0"));
        packet[24..].copy_from_slice(&ip::<std::net::Ipv4Addr>(target).octets());
        passes(&frame(MAC, ARP, &packet))
    };
    assert!(probe(1, "192.0.2.10"));
    assert!(!probe(1, "192.0.2.99"));
    assert!(!probe(2, "192.0.2.10"));
}

#[test]
fn groups_are_reported_and_not_asked_for() {
    for kind in 0..=255_u8 {
        let right = [131, 132, 143].contains(&kind);
        let body = [58, 0, 5, 2, 0, 0, 1, 0, kind, 0, 0, 0];
        assert_eq!(passes(&local6(0, &body)), right, "{kind}");
        assert_eq!(passes(&nobody6(0, &body)), right, "{kind}");
        assert!(!passes(&own6(0, &body)), "{kind}");
        // Behind more options, or another header.
        assert!(!passes(&local6(0, &[58, 1, 5, 2, 0, 0, 1, 0, kind, 0, 0, 0])), "{kind}");
        assert!(!passes(&local6(0, &[60, 0, 5, 2, 0, 0, 1, 0, kind, 0, 0, 0])), "{kind}");
    }
}

#[test]
fn arp_speaks_of_own_addresses() {
    for operation in 0..=9 {
        let right = operation == 1 || operation == 2;
        assert_eq!(passes(&frame(MAC, ARP, &arp(operation, MAC, ip("192.0.2.10")))), right);
        assert!(!passes(&frame(MAC, ARP, &arp(operation, OTHER, ip("192.0.2.10")))));
        assert!(!passes(&frame(OTHER, ARP, &arp(operation, MAC, ip("192.0.2.10")))));
        assert!(!passes(&frame(MAC, ARP, &arp(operation, MAC, ip("192.0.2.99")))));
    }
}

#[test]
fn bridges_are_not_spoken_to() {
    let mut packet = own4(6, 5, 0, &[0; 20]);
    assert!(passes(&packet));
    packet[..6].copy_from_slice(&[0x01, 0x80, 0xc2, 0, 0, 0x0e]);
    assert!(!passes(&packet));
}

proptest! {
    #[test]
    fn foreign_sources_never_pass(source: std::net::IpAddr, next: u8, payload: Vec<u8>) {
        prop_assume!(!own().contains(&source));
        let packet = match source {
            std::net::IpAddr::V4(ip) => frame(MAC, IPV4, &ipv4(ip)),
            std::net::IpAddr::V6(ip) => {
                frame(MAC, IPV6, &ipv6(ip, next, &payload[..payload.len().min(200)]))
            }
        };
        prop_assert!(!passes(&packet));
    }

    /// Whatever it is, an advertisement that passes is of an own address.
    #[test]
    fn no_advertisement_of_another_passes(
        source in 0..3_usize, target: std::net::Ipv6Addr, option: Vec<u8>,
    ) {
        prop_assume!(!own().contains(&target.into()) && target != link_local(MAC));
        let body = about(136, &target.to_string(), &option[..option.len().min(64)]);
        prop_assert!(!passes(&[own6, local6, nobody6][source](58, &body)));
    }
}
