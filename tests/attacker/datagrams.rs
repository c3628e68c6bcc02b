//! Datagrams with a source that isn't the guest's, by sockets that need no
//! capability, or one over the host's network: for guests on the host's stack,
//! where there are neither packet sockets nor raw ones.

use std::net::{IpAddr, Ipv6Addr};

use crate::capture::MARK;
use crate::outcome::{Attempt, untried};
use crate::sys::Arg::{Bytes, N, Words};
use crate::sys::{self};

/// Longer than a packet on the link, so that fragments are made of it.
const LONG: usize = 4000;

/// `IPV6_FREEBIND` (linux/in6.h).
const IPV6_FREEBIND: i32 = 78;

/// An IPv4 source route (RFC 791): loose, by one router to the target.
const LOOSE: u8 = 131;

/// One way to send with another source.
struct Way {
    /// What the socket is told before.
    options: Vec<(i32, i32, Vec<u8>)>,
    is_bound: bool,
    /// The source is named with the datagram (ip(7), ipv6(7)).
    is_named: bool,
    is_long: bool,
    is_ping: bool,
}

/// Sends a datagram of this kind from `source`, whose mark is that kind, and by
/// way of `router` where a route goes with it.
pub fn send(kind: &str, source: &str, router: &str, target: &str) -> Attempt {
    let ip =
        |text: &str| text.parse::<IpAddr>().or_else(|_| untried(format!("'{text}' is no address")));
    let (source, router, target) = (ip(source)?, ip(router)?, ip(target)?);
    let Some(way) = way(kind, router, target) else { return untried(format!("no way '{kind}'")) };
    let is_v4 = target.is_ipv4() && !kind.starts_with("mapped");
    let family = if is_v4 { libc::AF_INET } else { libc::AF_INET6 };
    let protocol = match (way.is_ping, is_v4) {
        (false, _) => 0,
        (true, true) => libc::IPPROTO_ICMP,
        (true, false) => libc::IPPROTO_ICMPV6,
    };
    let socket = [family, libc::SOCK_DGRAM, protocol].map(|value| N(value.into()));
    let socket = N(sys::call(libc::SYS_socket, &socket)?);
    for (level, option, value) in &way.options {
        let arguments =
            [socket, N((*level).into()), N((*option).into()), Bytes(value), N(value.len() as i64)];
        sys::call(libc::SYS_setsockopt, &arguments)?;
    }
    if way.is_bound {
        let own = address(source, 0, is_v4);
        sys::call(libc::SYS_bind, &[socket, Bytes(&own), N(own.len() as i64)])?;
    }
    // An echo request (RFC 792, RFC 4443), whose sum the kernel makes.
    let mut data = match (way.is_ping, is_v4) {
        (false, _) => Vec::new(),
        (true, true) => vec![8, 0, 0, 0, 0, 0, 0, 1],
        (true, false) => vec![128, 0, 0, 0, 0, 0, 0, 1],
    };
    data.extend(format!("{MARK}{kind}:").bytes());
    if way.is_long {
        data.resize(LONG, b'.');
    }
    let control = if way.is_named { control(source, is_v4) } else { Vec::new() };
    message(socket, &address(target, 9, is_v4), &data, &control)
}

fn way(kind: &str, router: IpAddr, target: IpAddr) -> Option<Way> {
    let yes = || 1_i32.to_ne_bytes().to_vec();
    let options = match (kind.split_once('-').map_or(kind, |(_, what)| what), target) {
        ("freebind" | "fragments" | "ping-freebind", IpAddr::V4(_)) => {
            vec![(libc::IPPROTO_IP, libc::IP_FREEBIND, yes())]
        }
        ("freebind" | "fragments" | "ping-freebind", IpAddr::V6(_)) => {
            vec![(libc::IPPROTO_IPV6, IPV6_FREEBIND, yes())]
        }
        ("transparent", IpAddr::V4(_)) => vec![(libc::IPPROTO_IP, libc::IP_TRANSPARENT, yes())],
        ("transparent", IpAddr::V6(_)) => {
            vec![(libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, yes())]
        }
        ("route", IpAddr::V4(_)) => {
            let IpAddr::V4(router) = router else { return None };
            let mut route = vec![LOOSE, 7, 4];
            route.extend(router.octets());
            route.push(0);
            vec![(libc::IPPROTO_IP, libc::IP_OPTIONS, route)]
        }
        ("route", IpAddr::V6(_)) => {
            let IpAddr::V6(router) = router else { return None };
            // That of segment routing (RFC 8754), which every kernel sends.
            let mut route = vec![0, 2, 4, 0, 0, 0, 0, 0];
            route.extend(router.octets());
            vec![(libc::IPPROTO_IPV6, libc::IPV6_RTHDR, route)]
        }
        ("own" | "bind" | "named" | "ping" | "ping-named", _) => Vec::new(),
        _ => return None,
    };
    let has = |word: &str| kind.contains(word);
    let is_named = has("named") || has("route");
    Some(Way {
        options,
        is_bound: !is_named,
        is_named,
        is_long: has("fragments"),
        is_ping: has("ping"),
    })
}

/// A `struct sockaddr_in` or `sockaddr_in6`.
fn address(ip: IpAddr, port: u16, is_v4: bool) -> Vec<u8> {
    let port = port.to_be_bytes();
    let family = |family: i32| (family as u16).to_ne_bytes().to_vec();
    match ip {
        IpAddr::V4(ip) if is_v4 => {
            [family(libc::AF_INET), port.to_vec(), ip.octets().to_vec(), vec![0; 8]].concat()
        }
        ip => {
            let ip = in_six(ip).octets().to_vec();
            [family(libc::AF_INET6), port.to_vec(), vec![0; 4], ip, vec![0; 4]].concat()
        }
    }
}

fn in_six(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// A control message with a source (`IP_PKTINFO`, `IPV6_PKTINFO`).
fn control(source: IpAddr, is_v4: bool) -> Vec<u8> {
    let (level, kind, data) = match source {
        IpAddr::V4(ip) if is_v4 => {
            // struct in_pktinfo: index, source, and what is for receivers.
            let data = [[0; 4], ip.octets(), [0; 4]].concat();
            (libc::IPPROTO_IP, libc::IP_PKTINFO, data)
        }
        ip => {
            let data = [&in_six(ip).octets()[..], &[0; 4]].concat();
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, data)
        }
    };
    // struct cmsghdr
    let mut message = (16 + data.len() as u64).to_ne_bytes().to_vec();
    message.extend(level.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(data);
    message.resize(message.len().next_multiple_of(8), 0);
    message
}

/// sendmsg(2).
fn message(socket: sys::Arg<'_>, to: &[u8], data: &[u8], control: &[u8]) -> Attempt {
    let place = |bytes: &[u8]| bytes.as_ptr() as u64;
    let vector = [place(data), data.len() as u64];
    // struct msghdr
    let header = [
        place(to),
        to.len() as u64,
        vector.as_ptr() as u64,
        1,
        if control.is_empty() { 0 } else { place(control) },
        control.len() as u64,
        0,
    ];
    let sent = sys::call(libc::SYS_sendmsg, &[socket, Words(&header), N(0)])?;
    Ok(format!("sent {sent} bytes"))
}
