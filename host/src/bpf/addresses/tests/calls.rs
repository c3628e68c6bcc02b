//! bind(2), connect(2), sendmsg(2), and what getsockname(2) tells.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{Call, both, ips4, ips6, some, v4, v6};
use crate::bpf::addresses::{Addresses, bind, connect, names, send};
use crate::sys::bpf::emulated::Socket;

const NOT_AVAILABLE: i64 = -(libc::EADDRNOTAVAIL as i64);

/// What bind(2) goes on with; nothing if it is refused.
fn bound4(addresses: &Addresses, ip: Ipv4Addr) -> Option<Ipv4Addr> {
    match ip {
        Ipv4Addr::UNSPECIFIED => Some(addresses.first4()),
        Ipv4Addr::LOCALHOST => Some(addresses.loopback),
        _ => (addresses.has(ip.into()) || addresses.broadcasts.contains(&ip)).then_some(ip),
    }
}

fn bound6(addresses: &Addresses, ip: Ipv6Addr) -> Option<Ipv6Addr> {
    match (ip, ip.to_ipv4_mapped()) {
        (_, Some(ip)) => bound4(addresses, ip).map(|ip| ip.to_ipv6_mapped()),
        (Ipv6Addr::UNSPECIFIED, _) => Some(addresses.first6()),
        (Ipv6Addr::LOCALHOST, _) => addresses.loopback6,
        _ => addresses.has(ip.into()).then_some(ip),
    }
}

/// Where a client comes from.
fn source4(addresses: &Addresses, to: Ipv4Addr) -> Option<Ipv4Addr> {
    let near = |(ip, bits): &&(Ipv4Addr, u8)| (to.to_bits() ^ ip.to_bits()) >> (32 - bits) == 0;
    let (near, first) = (addresses.v4.iter().find(near), addresses.v4.first());
    near.or(first).map(|(ip, _)| *ip)
}

fn source6(addresses: &Addresses, to: Ipv6Addr) -> Option<Ipv6Addr> {
    let near = |(ip, bits): &&(Ipv6Addr, u8)| (to.to_bits() ^ ip.to_bits()) >> (128 - bits) == 0;
    let (near, first) = (addresses.v6.iter().find(near), addresses.v6.first());
    near.or(first).map(|(ip, _)| *ip)
}

proptest! {
    #[test]
    fn own_addresses_alone_are_bound(
        addresses in some(), ip in prop_oneof![ips4().prop_map(IpAddr::V4), ips6().prop_map(IpAddr::V6)],
        port: u16, is_tcp: bool,
    ) {
        let (program, expected) = match ip {
            IpAddr::V4(ip) => {
                (bind::bind4(&addresses, None, None), bound4(&addresses, ip).map(IpAddr::V4))
            }
            IpAddr::V6(ip) => {
                (bind::bind6(&addresses, None, None), bound6(&addresses, ip).map(IpAddr::V6))
            }
        };
        let ended = Call { to: ip, port, is_tcp, source: None }.judge(&program, &[]);
        match expected {
            Some(expected) => {
                prop_assert_eq!((ended.result, ended.errno, ended.to), (1, 0, expected));
            }
            None => prop_assert_eq!((ended.result, ended.errno), (0, NOT_AVAILABLE)),
        }
    }

    #[test]
    fn messages_have_own_sources(
        addresses in some(), to in ips4(), port in 0..2_u16, source in proptest::option::of(ips4()),
    ) {
        let call = Call { to: to.into(), port, is_tcp: false, source: source.map(IpAddr::V4) };
        let ended = call.judge(&send::send4(&addresses), &[]);
        let named = source.filter(|ip| *ip != Ipv4Addr::UNSPECIFIED);
        let IpAddr::V4(used) = ended.source else { panic!("{ended:?}") };
        match named {
            Some(Ipv4Addr::LOCALHOST) => prop_assert_eq!(used, addresses.loopback),
            Some(ip) if !addresses.has(ip.into()) => prop_assert_eq!(ended.result, 0),
            Some(ip) => prop_assert_eq!((ended.result, used), (1, ip)),
            // Of a loopback address the client is the first one, if there is one.
            None if ended.result == 1 => prop_assert!(addresses.has(used.into())),
            None => prop_assert!(addresses.v4.is_empty() && ended.errno == -101),
        }
        if ended.result == 1 && port != 0 && (to.is_loopback() || to.is_unspecified()) {
            prop_assert_eq!(ended.to, IpAddr::V4(addresses.loopback));
        }
    }

    #[test]
    fn messages_of_ipv6_have_own_sources(
        addresses in some(), to in ips6(), source in proptest::option::of(ips6()),
    ) {
        let call = Call { to: to.into(), port: 9, is_tcp: false, source: source.map(IpAddr::V6) };
        let ended = call.judge(&send::send6(&addresses), &[]);
        let IpAddr::V6(used) = ended.source else { panic!("{ended:?}") };
        if ended.result == 1 {
            prop_assert!(addresses.has(used.into()), "{:?}", ended);
            let named = source.filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
            prop_assert!(named.is_none_or(|ip| ip == used));
        } else {
            let refused = source.filter(|ip| !ip.is_unspecified());
            let has_none = addresses.v6.is_empty();
            prop_assert!(refused.is_some() || has_none || addresses.loopback6.is_none());
        }
    }

    #[test]
    fn clients_have_own_sources(addresses in some(), to in ips4(), is_tcp: bool) {
        let call = Call { to: to.into(), port: 9, is_tcp, source: None };
        let ended = call.judge(&connect::connect4(&addresses), &[]);
        if to.is_loopback() || to.is_unspecified() {
            prop_assert_eq!((ended.result, ended.to), (1, IpAddr::V4(addresses.loopback)));
            let bound = ended.scene.bound.expect("it is bound");
            prop_assert_eq!(&bound[4..8], &addresses.loopback.octets());
            return Ok(());
        }
        match source4(&addresses, to) {
            Some(source) => {
                prop_assert_eq!((ended.result, ended.to), (1, IpAddr::V4(to)));
                let bound = ended.scene.bound.expect("it is bound");
                // struct sockaddr_in: no port.
                prop_assert_eq!(&bound[..8], &[&[2, 0, 0, 0], &source.octets()[..]].concat());
            }
            None => prop_assert_eq!((ended.result, ended.errno), (0, -101)),
        }
    }

    #[test]
    fn clients_of_ipv6_have_own_sources(addresses in some(), to in ips6(), is_tcp: bool) {
        let call = Call { to: to.into(), port: 9, is_tcp, source: None };
        let ended = call.judge(&connect::connect6(&addresses), &[]);
        let is_plain = to.to_ipv4_mapped().is_none() && !to.is_loopback() && !to.is_unspecified()
            && Some(to) != addresses.loopback6;
        match (ended.result, &ended.scene.bound) {
            (1, Some(bound)) => {
                let octets: [u8; 16] = bound[8..24].try_into().expect("16 bytes");
                let source = Ipv6Addr::from(octets);
                let own = source.to_ipv4_mapped().map_or(IpAddr::V6(source), IpAddr::V4);
                prop_assert!(addresses.has(own), "{}", source);
                prop_assert!(!is_plain || Some(source) == source6(&addresses, to));
            }
            (0, None) => prop_assert_eq!(ended.errno, -101),
            _ => prop_assert!(false, "{:?}", ended),
        }
    }

    #[test]
    fn the_loopback_address_is_shown_as_everybodys(addresses in some(), ip in ips4(), six in ips6()) {
        let call = |to| Call { to, port: 9, is_tcp: true, source: None };
        let ended = call(ip.into()).judge(&names::name4(&addresses), &[]);
        let shown = if ip == addresses.loopback { Ipv4Addr::LOCALHOST } else { ip };
        prop_assert_eq!((ended.result, ended.to), (1, IpAddr::V4(shown)));
        let ended = call(six.into()).judge(&names::name6(&addresses), &[]);
        let shown = match six {
            ip if Some(ip) == addresses.loopback6 => Ipv6Addr::LOCALHOST,
            ip if ip.to_ipv4_mapped() == Some(addresses.loopback) => {
                Ipv4Addr::LOCALHOST.to_ipv6_mapped()
            }
            ip => ip,
        };
        prop_assert_eq!((ended.result, ended.to), (1, IpAddr::V6(shown)));
    }
}

#[test]
fn localhost_leads_to_own_services_and_never_to_the_hosts() {
    let addresses = both();
    let mapped = |text: &str| v4(text).to_ipv6_mapped();
    let (own, loopback) = (mapped("192.0.2.10"), mapped("127.156.64.1"));
    let (own6, loopback6) = (v6("2001:db8::10"), v6("fd76:7365:7276::9c40:1"));
    let (any, any6) = (mapped("0.0.0.0"), v6("::"));
    let refused = -(libc::ECONNREFUSED as i64);
    for is_tcp in [true, false] {
        let at = |ip| Socket { is_tcp, ip, port: 80 };
        for (sockets, leads) in [
            (vec![], Some("127.156.64.1")),
            (vec![at(loopback), at(own)], Some("127.156.64.1")),
            (vec![at(own)], Some("192.0.2.10")),
            (vec![at(own), at(any)], Some("192.0.2.10")),
            (vec![at(any)], None),
            (vec![Socket { is_tcp: !is_tcp, ..at(own) }], Some("127.156.64.1")),
        ] {
            let call = Call { to: v4("127.0.0.1").into(), port: 80, is_tcp, source: None };
            let ended = call.judge(&connect::connect4(&addresses), &sockets);
            match leads {
                Some(leads) => assert_eq!(ended.to, IpAddr::V4(v4(leads)), "{sockets:?}"),
                None => assert_eq!((ended.result, ended.errno), (0, refused), "{sockets:?}"),
            }
        }
        for (sockets, leads) in [
            (vec![at(loopback6), at(own6)], Some(loopback6)),
            (vec![at(own6)], Some(own6)),
            (vec![at(any6)], None),
            (vec![], Some(loopback6)),
        ] {
            let call = Call { to: v6("::1").into(), port: 80, is_tcp, source: None };
            let ended = call.judge(&connect::connect6(&addresses), &sockets);
            match leads {
                Some(leads) => assert_eq!(ended.to, IpAddr::V6(leads), "{sockets:?}"),
                None => assert_eq!((ended.result, ended.errno), (0, refused), "{sockets:?}"),
            }
        }
    }
}
