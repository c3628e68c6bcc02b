//! Addresses for which the host answers on another network than the guest's.

use std::fs;
use std::io;
use std::net::IpAddr;

use super::netlink::{By, Netlink};

/// Answers for an address on the network of this interface of the host's.
///
/// # Errors
/// ENODEV without the interface; those of netlink(7).
pub(super) fn begin(kernel: &mut Netlink, interface: &str, address: IpAddr) -> io::Result<()> {
    let found = kernel.find(&By::Name(interface))?;
    let found = found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
    if address.is_ipv6() {
        // IPv4 looks at its list anyway, IPv6 only with this (ip-sysctl in the
        // kernel's documentation). It stays: others may rely on it too.
        // Netlink finds it by other names, too; there it has the first alone.
        fs::write(format!("/proc/sys/net/ipv6/conf/{}/proxy_ndp", found.name), "1")?;
    }
    kernel.answer_for(found.index, address, true)
}

/// Doesn't any more. An interface or an entry that has gone is no error.
///
/// # Errors
/// Those of netlink(7).
pub fn end(interface: &str, addresses: &[IpAddr]) -> io::Result<()> {
    let mut kernel = Netlink::open()?;
    let Some(found) = kernel.find(&By::Name(interface))? else { return Ok(()) };
    for address in addresses {
        match kernel.answer_for(found.index, *address, false) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {}
            other => other?,
        }
    }
    Ok(())
}
