//! The guest's end of its link, from inside.

use std::fs;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::address::AddressScope;

use super::netlink::Netlink;
use super::{INSIDE, gateway};
use crate::plan::{Far, Link};

/// Settings of the guest's end on a network of many machines: whatever a
/// router there tells, the guest has no addresses but its own, of which alone
/// it may send (ip-sysctl in the kernel's documentation).
const SETTINGS: [&str; 2] = ["accept_ra", "autoconf"];

/// Gives the guest's end its addresses, and routes everything to the host, or
/// to the gateways of its network, in the caller's network namespace. What a
/// family has no address of isn't routed.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over the namespace; EOPNOTSUPP or EACCES for
/// IPv6 on a kernel that has it switched off.
pub fn arrive(link: &Link) -> io::Result<()> {
    let mut kernel = Netlink::open()?;
    let index = kernel.index(INSIDE)?;
    if matches!(link.far, Far::Segment { .. }) {
        listen_to_no_router()?;
    }
    for address in &link.addresses {
        kernel.add_address(index, address.ip, address.bits, AddressScope::Universe)?;
    }
    kernel.bring_up(index)?;
    match &link.far {
        Far::Host { .. } => by_the_host(&mut kernel, index, link),
        Far::Segment { gateways, .. } => by_gateways(&mut kernel, index, link, gateways),
    }
}

/// Routes everything to the host. Its hardware address is noted for good, so
/// that nothing has to be asked for; a guest that configures the interface
/// again may ask.
fn by_the_host(kernel: &mut Netlink, index: u32, link: &Link) -> io::Result<()> {
    for v4 in [true, false] {
        let Some(source) = first(link, v4) else { continue };
        let gateway = gateway(source);
        kernel.add_neighbour(index, gateway, link.host_mac)?;
        if v4 {
            kernel.route_address(index, gateway, None)?;
        }
        kernel.route_default(index, gateway, source)?;
    }
    Ok(())
}

/// Routes everything to the gateways; one outside of the guest's networks is
/// on its link all the same.
fn by_gateways(
    kernel: &mut Netlink,
    index: u32,
    link: &Link,
    gateways: &[IpAddr],
) -> io::Result<()> {
    for gateway in gateways {
        let Some(source) = first(link, gateway.is_ipv4()) else { continue };
        let link_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if !link_local && !link.addresses.iter().any(|own| own.is_beside(*gateway)) {
            kernel.route_address(index, *gateway, None)?;
        }
        kernel.route_default(index, *gateway, source)?;
    }
    Ok(())
}

/// The first address of a family: the source of what names none.
fn first(link: &Link, v4: bool) -> Option<IpAddr> {
    link.ips().find(|ip| ip.is_ipv4() == v4)
}

fn listen_to_no_router() -> io::Result<()> {
    for setting in SETTINGS {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{INSIDE}/{setting}"), "0") {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}
