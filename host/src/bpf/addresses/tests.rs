//! What the programs decide, against the same rules in other words.

mod calls;
mod packets;
mod serving;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{Addresses, Root};
use crate::bpf::{Program, interpret_in};
use crate::sys::bpf::emulated::{Scene, Socket};

fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect(text)
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect(text)
}

/// A guest's, with two addresses of each family.
fn both() -> Addresses {
    Addresses {
        v4: vec![(v4("192.0.2.10"), 24), (v4("198.51.100.7"), 32)],
        v6: vec![(v6("2001:db8::10"), 64), (v6("2001:db8:1::7"), 128)],
        broadcasts: vec![v4("192.0.2.255")],
        loopback: v4("127.156.64.1"),
        loopback6: Some(v6("fd76:7365:7276::9c40:1")),
        root: None,
    }
}

/// Those of both, of one family, or of none.
fn some() -> impl Strategy<Value = Addresses> {
    any::<[bool; 3]>().prop_map(|[has4, has6, has_loopback6]| {
        let mut some = both();
        if !has4 {
            some.v4.clear();
        }
        if !has6 {
            some.v6.clear();
        }
        some.loopback6 = some.loopback6.filter(|_| has_loopback6);
        some
    })
}

/// Addresses of which something is decided, and others near to them.
fn ips4() -> impl Strategy<Value = Ipv4Addr> {
    let known = [
        "0.0.0.0",
        "127.0.0.1",
        "127.156.64.1",
        "127.156.65.1",
        "192.0.2.10",
        "192.0.2.11",
        "192.0.2.255",
        "198.51.100.7",
        "198.51.100.8",
        "203.0.113.1",
        "255.255.255.255",
        "224.0.0.1",
    ];
    prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(v4),
        1 => any::<Ipv4Addr>(),
    ]
}

fn ips6() -> impl Strategy<Value = Ipv6Addr> {
    let known = [
        "::",
        "::1",
        "fd76:7365:7276::9c40:1",
        "fd76:7365:7276::9c41:1",
        "2001:db8::10",
        "2001:db8::11",
        "2001:db8:1::7",
        "2001:db8:1::8",
        "fe80::1",
        "ff02::1",
        "::2",
        "::192.0.2.10",
    ];
    prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(v6),
        4 => ips4().prop_map(|ip| ip.to_ipv6_mapped()),
        1 => any::<Ipv6Addr>(),
    ]
}

/// A call with an address: `struct bpf_sock_addr` (linux/bpf.h).
#[derive(Clone, Copy, Debug)]
struct Call {
    to: IpAddr,
    port: u16,
    is_tcp: bool,
    source: Option<IpAddr>,
}

/// How it ended: the program's result, the errno that it answers with, the
/// address that the kernel goes on with, and the source of a message.
#[derive(Debug)]
struct Ended {
    result: u64,
    errno: i64,
    to: IpAddr,
    source: IpAddr,
    scene: Scene,
    mark: u64,
}

impl Call {
    /// What becomes of it where the search finds these sockets.
    fn judge(self, program: &Program, sockets: &[Socket]) -> Ended {
        let mut context = [0_u8; 72];
        let v6 = self.to.is_ipv6();
        let put = |context: &mut [u8], at4: usize, at6: usize, ip: IpAddr| match ip {
            IpAddr::V4(ip) => context[at4..at4 + 4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => context[at6..at6 + 16].copy_from_slice(&ip.octets()),
        };
        let get = |context: &[u8], at4: usize, at6: usize| -> IpAddr {
            if v6 {
                let octets: [u8; 16] = context[at6..at6 + 16].try_into().expect("16 bytes");
                octets.into()
            } else {
                let octets: [u8; 4] = context[at4..at4 + 4].try_into().expect("4 bytes");
                octets.into()
            }
        };
        put(&mut context, 4, 8, self.to);
        context[24..26].copy_from_slice(&self.port.to_be_bytes());
        context[36] = if self.is_tcp { 6 } else { 17 };
        if let Some(source) = self.source {
            put(&mut context, 40, 44, source);
        }
        let scene = Scene { sockets: sockets.to_vec(), ..Scene::default() };
        let (result, scene, mark) = interpret_in(scene, program, &mut context);
        assert_eq!(scene.held, 0, "every socket is given back");
        let (to, source) = (get(&context, 4, 8), get(&context, 40, 44));
        Ended { result, errno: scene.answer, to, source, scene, mark }
    }
}

impl Addresses {
    /// Is it one that the cgroup has?
    fn has(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.all4().any(|own| own == ip),
            IpAddr::V6(ip) => self.all6().any(|own| own == ip),
        }
    }
}

#[test]
fn ports_below_1024_are_for_the_guests_root() {
    // The emulated caller is uid 0.
    for (uid, result) in [(0, 3), (100_000, 1)] {
        let addresses = Addresses { root: Some(Root { uid }), ..both() };
        for (program, to) in [
            (super::bind::bind4(&addresses, None, None), IpAddr::V4(v4("192.0.2.10"))),
            (super::bind::bind6(&addresses, None, None), IpAddr::V6(v6("2001:db8::10"))),
        ] {
            let call = Call { to, port: 80, is_tcp: true, source: None };
            assert_eq!(call.judge(&program, &[]).result, result, "{to} by {uid}");
        }
    }
}
