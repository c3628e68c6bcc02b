//! One socket for all addresses: who is marked, noted and led to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{Call, both, ips4, ips6, v4, v6};
use crate::bpf::addresses::serve::{Maps, listen, lookup};
use crate::bpf::addresses::{Layout, bind};
use crate::bpf::interpret_in;
use crate::sys::bpf::emulated::{INNER, Scene, Socket};

const MAPS: Maps = Maps { marks: 5, listeners: 6 };
const DIRECTORY: i32 = 7;

fn key(ip: Ipv6Addr, port: u16) -> Vec<u8> {
    [&ip.octets()[..], &u32::from(port).to_ne_bytes()].concat()
}

fn any4() -> Ipv6Addr {
    Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()
}

#[test]
fn what_is_bound_to_any_address_is_marked() {
    let addresses = both();
    for (to, is_tcp, port, mark, bound) in [
        ("0.0.0.0", true, 80, 1, "192.0.2.10"),
        ("0.0.0.0", true, 0, 0, "192.0.2.10"),
        ("0.0.0.0", false, 80, 0, "192.0.2.10"),
        ("192.0.2.10", true, 80, 0, "192.0.2.10"),
        ("::ffff:0.0.0.0", true, 80, 1, "::ffff:192.0.2.10"),
        ("::ffff:0.0.0.0", false, 80, 0, "::ffff:192.0.2.10"),
        ("::ffff:198.51.100.7", true, 80, 0, "::ffff:198.51.100.7"),
        // Where it isn't known whether a socket speaks IPv6 alone.
        ("::", true, 80, 2, "2001:db8::10"),
        ("::", false, 80, 0, "2001:db8::10"),
        ("2001:db8:1::7", true, 80, 0, "2001:db8:1::7"),
    ] {
        let to: IpAddr = to.parse().expect(to);
        let program = match to {
            IpAddr::V4(_) => bind::bind4(&addresses, None, Some(MAPS)),
            IpAddr::V6(_) => bind::bind6(&addresses, None, Some(MAPS)),
        };
        let ended = Call { to, port, is_tcp, source: None }.judge(&program, &[]);
        let is_marked = ended.scene.is_marked;
        let found = if is_marked { ended.mark } else { 0 };
        assert_eq!((ended.result, found), (1, mark), "{to} {port}");
        assert_eq!(ended.to, bound.parse::<IpAddr>().expect(bound), "{to} {port}");
    }
}

#[test]
fn a_port_that_is_taken_at_one_of_the_addresses_is_taken() {
    let addresses = both();
    let in_use = -(libc::EADDRINUSE as i64);
    let at = |ip| Socket { is_tcp: true, ip, port: 80 };
    let second4 = v4("198.51.100.7").to_ipv6_mapped();
    for (to, socket, is_taken) in [
        ("0.0.0.0", at(second4), true),
        ("::ffff:0.0.0.0", at(second4), true),
        ("::", at(v6("2001:db8:1::7")), true),
        ("0.0.0.0", Socket { port: 81, ..at(second4) }, false),
        ("0.0.0.0", Socket { is_tcp: false, ..at(second4) }, false),
        ("0.0.0.0", at(v4("203.0.113.1").to_ipv6_mapped()), false),
        // The kernel itself looks at the first one, and at any address.
        ("0.0.0.0", at(any4()), false),
        ("::", at(v6("::")), false),
    ] {
        let to: IpAddr = to.parse().expect(to);
        let program = match to {
            IpAddr::V4(_) => bind::bind4(&addresses, None, Some(MAPS)),
            IpAddr::V6(_) => bind::bind6(&addresses, None, Some(MAPS)),
        };
        let ended = Call { to, port: 80, is_tcp: true, source: None }.judge(&program, &[socket]);
        let expected = if is_taken { (0, in_use) } else { (1, 0) };
        assert_eq!((ended.result, ended.errno), expected, "{to} {socket:?}");
        assert_eq!(ended.scene.is_marked, !is_taken, "{to} {socket:?}");
    }
}

#[test]
fn a_listening_socket_is_noted_where_it_listens() {
    let own = v4("198.51.100.7");
    let noted = |event: u32, has_socket: bool| {
        let mut context = [0_u8; 200];
        context[..4].copy_from_slice(&event.to_ne_bytes());
        context[20] = 2;
        context[28..32].copy_from_slice(&own.octets());
        context[68] = 80;
        context[184] = has_socket.into();
        let (result, scene, _) = interpret_in(Scene::default(), &listen(MAPS), &mut context);
        // No opinion, where one is asked for.
        assert_eq!((result, &context[4..8]), (1, &[0xff; 4][..]));
        scene.keys
    };
    // BPF_SOCK_OPS_TCP_LISTEN_CB, and others.
    assert_eq!(noted(11, true), [(6, key(own.to_ipv6_mapped(), 80))]);
    assert!(noted(11, false).is_empty());
    for event in [0, 1, 4, 10, 12] {
        assert!(noted(event, true).is_empty(), "{event}");
    }
}

fn slot(ip: Ipv6Addr, port: u16, slot: u32) -> Vec<u8> {
    [&ip.octets()[..], &(u32::from(port) | slot << 16).to_ne_bytes()].concat()
}

/// With `SO_REUSEPORT`, of which each may be closed before the others.
#[test]
fn each_socket_at_one_address_has_a_slot() {
    let ip = v4("198.51.100.7").to_ipv6_mapped();
    let mut context = [0_u8; 200];
    context[0] = 11;
    context[20] = 2;
    context[28..32].copy_from_slice(&ip.octets()[12..]);
    context[68] = 80;
    context[184] = 1;
    let mut scene = Scene::default();
    for number in 0..12_u32 {
        let (_, next, _) = interpret_in(scene, &listen(MAPS), &mut context.clone());
        scene = next;
        let all: Vec<_> = (0..=number.min(7)).map(|one| (6, slot(ip, 80, one))).collect();
        assert_eq!(scene.keys, all, "more have the last one's place");
    }
    // One that is closed leaves its slot to the next.
    scene.keys.remove(2);
    let (_, scene, _) = interpret_in(scene, &listen(MAPS), &mut context);
    assert!(scene.keys.contains(&(6, slot(ip, 80, 2))) && scene.keys.len() == 8);
}

#[test]
fn one_that_is_left_of_many_is_led_to() {
    let own = v4("198.51.100.7");
    let led = |sockets: &[(Ipv6Addr, u32)]| {
        let of_guest =
            both().keys().map(|key| (DIRECTORY as u64, key.to_vec())).collect::<Vec<_>>();
        let noted = sockets.iter().map(|(ip, at)| (INNER, slot(*ip, 80, *at)));
        is_led(own.into(), 80, 6, of_guest.into_iter().chain(noted).collect())
    };
    for at in 0..8 {
        assert!(led(&[(any4(), at)]), "{at}");
        // What listens at the very address comes first, whichever it is.
        assert!(!led(&[(any4(), 0), (own.to_ipv6_mapped(), at)]), "{at}");
    }
    assert!(!led(&[(any4(), 8)]) && !led(&[]));
}

/// A socket that speaks both families has an IPv4 address, the loopback one if there is
/// no other, and serves both: also those that the guest gets later.
#[test]
fn what_speaks_both_families_serves_both() {
    let layout = Layout { credentials: 0, effective: 0, user_namespace: 0, level: 0, ipv6_only: 0 };
    for (has_v4, bound) in [(true, "::ffff:192.0.2.10"), (false, "::ffff:127.156.64.1")] {
        let mut addresses = both();
        if !has_v4 {
            addresses.v4.clear();
        }
        let program = bind::bind6(&addresses, Some(layout), Some(MAPS));
        let call = Call { to: v6("::").into(), port: 80, is_tcp: true, source: None };
        let ended = call.judge(&program, &[]);
        assert_eq!((ended.result, ended.mark), (1, 3), "{bound}");
        assert_eq!(ended.to, bound.parse::<IpAddr>().expect(bound));
        // All of the IPv6 ones are looked at: the kernel looks at none of them.
        for taken in ["2001:db8::10", "2001:db8:1::7"] {
            let socket = Socket { is_tcp: true, ip: v6(taken), port: 80 };
            let ended = call.judge(&program, &[socket]);
            assert_eq!((ended.result, ended.errno), (0, -(libc::EADDRINUSE as i64)), "{taken}");
        }
    }
}

/// Is a connection or a message to this address led to another socket than
/// the kernel's choice?
fn is_led(to: IpAddr, port: u16, protocol: u8, keys: Vec<(u64, Vec<u8>)>) -> bool {
    let mut context = [0_u8; 72];
    match to {
        IpAddr::V4(ip) => {
            context[8] = 2;
            context[40..44].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            context[8] = 10;
            context[44..60].copy_from_slice(&ip.octets());
        }
    }
    context[12] = protocol;
    context[60..62].copy_from_slice(&port.to_ne_bytes());
    let scene = Scene { keys, ..Scene::default() };
    let (result, scene, _) = interpret_in(scene, &lookup(DIRECTORY), &mut context);
    assert_eq!((result, scene.held), (1, 0), "nothing is dropped, nothing kept");
    scene.is_assigned
}

proptest! {
    #[test]
    fn connections_are_led_where_any_address_is_served(
        to in prop_oneof![ips4().prop_map(IpAddr::V4), ips6().prop_map(IpAddr::V6)],
        port in 80..82_u16, protocol in proptest::sample::select(vec![6_u8, 17]),
        [serves4, serves6, has_own]: [bool; 3],
    ) {
        let addresses = both();
        let directory = DIRECTORY as u64;
        let form = match to {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut keys: Vec<_> =
            addresses.keys().map(|key| (directory, key.to_vec())).collect();
        for (is_there, ip) in [(serves4, any4()), (serves6, v6("::")), (has_own, form)] {
            if is_there {
                keys.push((INNER, key(ip, 80)));
            }
        }
        // The context of an IPv6 lookup never has an IPv4 address.
        let is_own = addresses.has(to) || form.to_ipv4_mapped().is_some_and(|ip| addresses.has(ip.into()));
        let serves = if to.is_ipv4() { serves4 } else { serves6 };
        let has_own = has_own || form == any4() && serves4 || form == v6("::") && serves6;
        let expected = protocol == 6 && port == 80 && is_own && serves && !has_own;
        prop_assert_eq!(is_led(to, port, protocol, keys), expected);
    }
}
