//! The host's end of a guest's link.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use netlink_packet_route::address::AddressScope;

use super::netlink::{By, Interface, Netlink};
use super::{INSIDE, gateway, proxy};
use crate::bpf;
use crate::plan::Link;
use crate::sys;

/// Settings of the interface, below /proc/sys/net, against what the filter
/// can't see from one packet: the host takes no routes, redirects or routes
/// within packets from a guest, and sends it no redirects (ip-sysctl in the
/// kernel's documentation). With strict `rp_filter` the host's own routes say
/// once more what may arrive.
const SETTINGS: [(&str, &str, &str); 8] = [
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "accept_source_route", "0"),
    ("ipv4", "accept_redirects", "0"),
    ("ipv4", "secure_redirects", "0"),
    ("ipv4", "send_redirects", "0"),
    ("ipv6", "accept_ra", "0"),
    ("ipv6", "accept_redirects", "0"),
    ("ipv6", "accept_source_route", "-1"),
];

/// The host's end of a link that is being made.
pub struct Host<'l> {
    kernel: Netlink,
    link: &'l Link,
    index: u32,
}

impl<'l> Host<'l> {
    /// Makes the link, its other end in the network namespace of process
    /// `pid`; brings the host's end up once it is filtered. Nothing is routed
    /// there yet. What an earlier start has left is removed.
    ///
    /// # Errors
    /// EEXIST if the interface is somebody else's; EPERM without
    /// CAP_NET_ADMIN or the right to load eBPF programs; EOPNOTSUPP or ENOENT
    /// on a kernel without veth, clsact or BPF filters.
    pub fn make(link: &'l Link, pid: i32) -> io::Result<Self> {
        let mut kernel = Netlink::open()?;
        remove_leftover(&mut kernel, link)?;
        let pid = u32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
        kernel.make_pair((&link.interface, link.host_mac), (INSIDE, link.guest_mac), pid)?;
        let interface = kernel.find(&By::Name(&link.interface))?;
        let index = interface.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?.index;
        kernel.add_name(index, &link.long_name)?;
        let mut host = Self { kernel, link, index };
        if link.is_guarded {
            host.filter()?;
            host.be_deaf()?;
        }
        host.settle()?;
        Ok(host)
    }

    /// Nothing passes but what the guest may send, from here on.
    fn filter(&mut self) -> io::Result<()> {
        let filter = bpf::link::filter(self.link.guest_mac, &self.link.addresses);
        let program = sys::bpf::load(sys::bpf::Hook::Link, "vserver_link", &filter)?;
        self.kernel.make_filterable(self.index)?;
        let program = program.as_raw_fd().cast_unsigned();
        self.kernel.filter(self.index, program, "vserver")
    }

    /// Hears nothing of what [`SETTINGS`] says.
    fn be_deaf(&self) -> io::Result<()> {
        for (family, setting, value) in SETTINGS {
            let file = format!("/proc/sys/net/{family}/conf/{}/{setting}", self.link.interface);
            match fs::write(file, value) {
                // A kernel without IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Addresses of the host's end; up.
    fn settle(&mut self) -> io::Result<()> {
        let has = |v4: bool| self.link.addresses.iter().find(|ip| ip.is_ipv4() == v4);
        let (v4, v6) = (has(true).copied(), has(false).copied());
        if v6.is_some() {
            self.kernel.leave_without_address(self.index)?;
        }
        self.kernel.bring_up(self.index)?;
        if let Some(address) = v4 {
            // Good within this host: it is no source of what the host sends.
            self.kernel.add_address(self.index, gateway(address), 32, AddressScope::Host)?;
        }
        if let Some(address) = v6 {
            self.kernel.add_address(self.index, gateway(address), 64, AddressScope::Link)?;
        }
        Ok(())
    }

    /// Routes an address to the guest.
    ///
    /// # Errors
    /// EEXIST if it is routed already, to another guest or elsewhere; ENODEV
    /// without the interface on which the host is to answer for it.
    pub fn route(&mut self, address: IpAddr) -> io::Result<()> {
        self.kernel.add_neighbour(self.index, address, self.link.guest_mac)?;
        self.kernel.route_address(self.index, address, None)?;
        match &self.link.proxy {
            Some(interface) => proxy::begin(&mut self.kernel, interface, address),
            None => Ok(()),
        }
    }
}

/// Removes the link with this long name, if it is there. It would go with the
/// guest's network namespace, but a moment after its last process, and not
/// while anybody holds that.
///
/// # Errors
/// Those of netlink(7).
pub fn remove(long_name: &str) -> io::Result<()> {
    let mut kernel = Netlink::open()?;
    match kernel.find(&By::Alternative(long_name))? {
        Some(found) => gone(kernel.remove(found.index)),
        None => Ok(()),
    }
}

/// Removes what an earlier start has left: known by its long name, or, where
/// it ended before that was given, by its hardware address.
fn remove_leftover(kernel: &mut Netlink, link: &Link) -> io::Result<()> {
    if let Some(found) = kernel.find(&By::Alternative(&link.long_name))? {
        gone(kernel.remove(found.index))?;
    }
    let ours = |found: &Interface| {
        found.mac.as_deref() == Some(&link.host_mac) && found.alternatives.is_empty()
    };
    match kernel.find(&By::Name(&link.interface))? {
        Some(found) if ours(&found) => gone(kernel.remove(found.index)),
        _ => Ok(()),
    }
}

/// It may go by itself meanwhile.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}
