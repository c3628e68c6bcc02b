//! The guest's end of its link, from inside.

use std::io;

use netlink_packet_route::address::AddressScope;

use super::netlink::{By, Netlink};
use super::{INSIDE, gateway};
use crate::plan::Link;

/// Gives the guest's end its addresses, and routes everything to the host, in
/// the caller's network namespace. What a family has no address of isn't
/// routed.
///
/// The host's hardware address is noted for good, so that nothing has to be
/// asked for; a guest that configures the interface again may ask.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over the namespace; EOPNOTSUPP or EACCES for
/// IPv6 on a kernel that has it switched off.
pub fn arrive(link: &Link) -> io::Result<()> {
    let mut kernel = Netlink::open()?;
    let interface = kernel.find(&By::Name(INSIDE))?;
    let index = interface.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?.index;
    for address in &link.addresses {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        kernel.add_address(index, *address, bits, AddressScope::Universe)?;
    }
    kernel.bring_up(index)?;
    // The first of each family is the source of what names none.
    for of in [
        link.addresses.iter().find(|ip| ip.is_ipv4()),
        link.addresses.iter().find(|ip| ip.is_ipv6()),
    ] {
        let Some(source) = of else { continue };
        let gateway = gateway(*source);
        kernel.add_neighbour(index, gateway, link.host_mac)?;
        if gateway.is_ipv4() {
            kernel.route_address(index, gateway, None)?;
        }
        kernel.route_default(index, gateway, *source)?;
    }
    Ok(())
}
