//! Sockets of every kind, which are made and nothing else.

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use rustix::net::{Protocol, ipproto};

use crate::Said;

/// Makes a socket of this name.
pub fn make(name: &str) -> Said {
    let (family, kind, protocol) = match name {
        "raw" => (AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Icmp)),
        "raw6" => (AddressFamily::Inet6, SockType::Raw, Some(SockProtocol::IcmpV6)),
        "packet" => (AddressFamily::Packet, SockType::Datagram, None),
        "udp" => (AddressFamily::Inet, SockType::Datagram, Some(SockProtocol::Udp)),
        "ping" => (AddressFamily::Inet, SockType::Datagram, Some(SockProtocol::Icmp)),
        "unix" => (AddressFamily::Unix, SockType::Stream, None),
        "sctp" => return stream(name, ipproto::SCTP),
        "mptcp" => return stream(name, ipproto::MPTCP),
        _ => panic!("there is no socket '{name}'"),
    };
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).map(|_| format!("{name} made"))?)
}

/// One of a protocol by which the kernel knows whether it has to load a module.
fn stream(name: &str, protocol: Protocol) -> Said {
    let (family, kind) = (rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM);
    Ok(rustix::net::socket(family, kind, Some(protocol)).map(|_| format!("{name} made"))?)
}
