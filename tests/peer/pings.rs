//! Sockets for pings, which need no capability (icmp(7)).

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, sendmsg, socket,
};

use crate::{MOMENT, Said, parse, timed};

/// Asks for an echo without a capability, from this address.
pub fn ping(source: &str, address: &str) -> Said {
    let socket = unnumbered()?;
    bind(socket.as_raw_fd(), &v4(source))?;
    ask(socket, address)
}

/// The same by this socket.
pub fn ask(socket: OwnedFd, address: &str) -> Said {
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(MOMENT))?;
    // An echo request (RFC 792), whose sum the kernel makes.
    let request = [IoSlice::new(&[8, 0, 0, 0, 0, 0, 0, 1])];
    sendmsg(socket.as_raw_fd(), &request, &[], MsgFlags::empty(), Some(&v4(address)))?;
    timed(socket.recv_from(&mut [0; 16]))?;
    Ok("answered".to_owned())
}

/// One with this number, which its echoes have, too.
pub fn numbered(number: u16) -> io::Result<OwnedFd> {
    let socket = unnumbered()?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, number))?;
    Ok(socket)
}

fn unnumbered() -> io::Result<OwnedFd> {
    let (icmp, flags) = (Some(SockProtocol::Icmp), SockFlag::SOCK_CLOEXEC);
    Ok(socket(AddressFamily::Inet, SockType::Datagram, flags, icmp)?)
}

fn v4(ip: &str) -> SockaddrIn {
    match parse(&format!("{ip}:0")) {
        SocketAddr::V4(at) => SockaddrIn::from(at),
        SocketAddr::V6(at) => panic!("'{at}' is no IPv4 address"),
    }
}
