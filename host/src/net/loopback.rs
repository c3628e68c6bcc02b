//! Loopback addresses of guests on the host's own stack, of IPv6: the host has
//! but ::1 itself, so each gets one beside it.

use std::io;
use std::net::Ipv6Addr;

use super::netlink::Netlink;

/// Number of the loopback interface of every network (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Adds it; one that is there already is no error. It is never chosen as a
/// source (RFC 6724 rule 3), being deprecated.
///
/// # Errors
/// Those of netlink(7), EACCES among them where IPv6 is switched off.
pub fn add(address: Ipv6Addr) -> io::Result<()> {
    accept(libc::EEXIST, Netlink::open()?.add_deprecated(LOOPBACK, address))
}

/// Removes it; one that has gone is no error.
///
/// # Errors
/// Those of netlink(7).
pub fn remove(address: Ipv6Addr) -> io::Result<()> {
    accept(libc::EADDRNOTAVAIL, Netlink::open()?.remove_address(LOOPBACK, address.into(), 128))
}

fn accept(number: i32, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(number) => Ok(()),
        other => other,
    }
}
