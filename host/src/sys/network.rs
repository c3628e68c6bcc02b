//! Sockets: the flag ioctls of netdevice(7), an option of unix(7), frames by
//! packet(7).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::check;

/// Brings up the loopback interface of the caller's network namespace.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over the namespace.
pub fn loopback_up() -> io::Result<()> {
    let socket: OwnedFd =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: the argument points to an ifreq that lives through the call
    // and whose flags are set, as SIOCSIFFLAGS reads them.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
        .map(drop)
}

/// `SO_PASSRIGHTS`, Linux 6.16 (include/uapi/asm-generic/socket.h); the libc
/// crate has no name for it yet.
const SO_PASSRIGHTS: libc::c_int = 83;

/// Refuses descriptors that come over this Unix socket: the sender gets
/// EPERM. Whoever only reads bytes drops what came with them, and dropping
/// the last reference can wait for as long as the sender likes (a TCP socket
/// with SO_LINGER, socket(7)). Kernels before 6.16 can't refuse.
///
/// # Errors
/// Those of setsockopt(2), but ENOPROTOOPT.
pub fn refuse_descriptors(socket: BorrowedFd<'_>) -> io::Result<()> {
    let off: libc::c_int = 0;
    // SAFETY: the value is an int that lives through the call, and its size
    // is passed.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match check(set.into()) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => other.map(drop),
    }
}

/// Sends a frame of Ethernet, with its header, out by the interface of this
/// number in the caller's network namespace.
///
/// # Errors
/// EPERM without CAP_NET_RAW; ENXIO or ENETDOWN without the interface, or while
/// it is down.
pub fn send_frame(interface: u32, frame: &[u8]) -> io::Result<()> {
    // By no protocol, so that nothing is received.
    let socket: OwnedFd =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: frame and address live through the call, and their sizes are
    // passed.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of_val(&to) as libc::socklen_t,
        )
    };
    check(sent as libc::c_long).map(drop)
}
