//! The host's end of a guest's link.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use netlink_packet_route::address::AddressScope;

use super::netlink::{By, Interface, Netlink, Place};
use super::{INSIDE, gateway, proxy};
use crate::bpf;
use crate::bpf::link::{Kind, Then};
use crate::bpf::traffic::Way;
use crate::plan::{Door, Far, Link};
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

/// The host's end of a link that is being made: [`Host::make`], then
/// [`Host::guard`], then [`Host::bring_up`].
pub struct Host<'l> {
    kernel: Netlink,
    link: &'l Link,
    index: u32,
    /// Number of the bridge, or of the interface upon the parent, that it is
    /// joined to.
    beyond: Option<u32>,
    /// Descriptor of the map in which traffic is counted.
    traffic: Option<i32>,
}

impl<'l> Host<'l> {
    /// Makes the link, its other end in the network namespace of process
    /// `pid`. Nothing of it is up. What passes is to be counted in the map
    /// `traffic`. What an earlier start has left is removed.
    ///
    /// # Errors
    /// EEXIST if an interface is somebody else's; ENODEV without the bridge or
    /// the parent; EPERM without CAP_NET_ADMIN; EOPNOTSUPP or ENOENT on a
    /// kernel without veth, or without macvlan where that is wanted.
    pub fn make(link: &'l Link, pid: i32, traffic: Option<i32>) -> io::Result<Self> {
        let mut kernel = Netlink::open()?;
        remove_leftover(&mut kernel, link)?;
        let pid = u32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
        let segment = match &link.far {
            Far::Host { .. } => None,
            Far::Segment { door, .. } => Some((door, outside(&mut kernel, door)?)),
        };
        // A port lowers the packet size of a bridge to its own.
        let mtu = segment.as_ref().and_then(|(_, outside)| outside.mtu);
        let (ours, theirs) = ((link.interface.as_str(), link.host_mac), (INSIDE, link.guest_mac));
        kernel.make_pair(ours, theirs, mtu, pid)?;
        let index = kernel.index(&link.interface)?;
        kernel.add_name(index, &link.long_name)?;
        let beyond = match segment {
            None => None,
            Some((Door::Bridge(_), bridge)) => Some(bridge.index),
            Some((Door::Macvlan(macvlan), parent)) => {
                kernel.make_macvlan((&macvlan.interface, link.guest_mac), parent.index)?;
                let outer = kernel.index(&macvlan.interface)?;
                kernel.add_name(outer, &macvlan.long_name)?;
                Some(outer)
            }
        };
        Ok(Self { kernel, link, index, beyond, traffic })
    }

    /// Attaches the link's programs, while it is down: nothing can pass them by.
    ///
    /// # Errors
    /// EPERM without the right to load eBPF programs; EOPNOTSUPP or ENOENT on
    /// a kernel without clsact or BPF filters.
    pub fn guard(&mut self) -> io::Result<()> {
        self.count_departing()?;
        match self.macvlan() {
            Some(outer) => self.pass_through(outer),
            None => self.guard_and(Then::Stay),
        }
    }

    /// Brings up the host's end, joined to what it is to be joined to. Nothing
    /// is routed there yet.
    ///
    /// # Errors
    /// Those of netlink(7).
    pub fn bring_up(&mut self) -> io::Result<()> {
        let Some(beyond) = self.beyond else { return self.settle() };
        match self.macvlan() {
            None => {
                self.kernel.join(self.index, beyond)?;
                self.stay_without_address(self.index)?;
                self.kernel.bring_up(self.index)
            }
            Some(outer) => {
                for index in [self.index, outer] {
                    self.stay_without_address(index)?;
                }
                self.kernel.bring_up(self.index)?;
                // Which groups the guest listens to is its own affair.
                self.kernel.bring_up_for_groups(outer)
            }
        }
    }

    /// Number of the interface upon the parent, for a guest by macvlan.
    fn macvlan(&self) -> Option<u32> {
        match &self.link.far {
            Far::Segment { door: Door::Macvlan(_), .. } => self.beyond,
            _ => None,
        }
    }

    /// Nothing passes but what the guest may send, from here on; then it goes
    /// on like this. The host itself hears no more of it than it must.
    fn guard_and(&mut self, then: Then) -> io::Result<()> {
        if !self.link.is_guarded {
            let program = match (then, self.traffic) {
                (Then::Leave(interface), traffic) => bpf::link::carry(interface, traffic),
                (Then::Stay, Some(map)) => bpf::traffic::link(map, Way::Out),
                (Then::Stay, None) => return Ok(()),
            };
            return self.attach(self.index, Place::Arrival, &program);
        }
        let addresses: Vec<_> = self.link.ips().collect();
        let kind = match self.link.far {
            Far::Host { .. } => Kind::Routed,
            Far::Segment { .. } => Kind::Segment,
        };
        let mac = self.link.guest_mac;
        let filter = bpf::link::filter(kind, mac, &addresses, then, self.traffic);
        self.attach(self.index, Place::Arrival, &filter)?;
        self.be_deaf()
    }

    /// What the guest gets is counted as it leaves the host.
    fn count_departing(&mut self) -> io::Result<()> {
        match self.traffic {
            Some(map) => {
                let program = bpf::traffic::link(map, Way::In);
                self.attach(self.index, Place::Departure, &program)
            }
            None => Ok(()),
        }
    }

    fn attach(&mut self, index: u32, place: Place, program: &bpf::Program) -> io::Result<()> {
        let program = sys::bpf::load(sys::bpf::Hook::Link, "vserver_link", program)?;
        match sys::bpf::attach_to_interface(index, place == Place::Departure, &program) {
            // A kernel without tcx, before Linux 6.6.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => return other,
        }
        match self.kernel.make_filterable(index) {
            // For the other direction.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            other => other?,
        }
        self.kernel.filter(index, place, program.as_raw_fd().cast_unsigned(), "vserver")
    }

    /// Joins the host's end to an interface of the guest's own on the network
    /// of another: what comes in by one leaves by the other, without the host
    /// itself. In the guest that interface would be for its root to change and
    /// to build upon, past any filter (a second one above it would hang on the
    /// parent); here it is out of reach.
    fn pass_through(&mut self, outer: u32) -> io::Result<()> {
        self.attach(outer, Place::Arrival, &bpf::link::carry(self.index, None))?;
        self.guard_and(Then::Leave(outer))
    }

    /// An end that isn't the host's own has no address there.
    fn stay_without_address(&mut self, index: u32) -> io::Result<()> {
        match self.kernel.leave_without_address(index) {
            // A kernel without IPv6.
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(()),
            other => other,
        }
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

    /// That of a guest that runs.
    ///
    /// # Errors
    /// ENODEV when it has gone; those of netlink(7).
    pub(super) fn of_running(link: &'l Link) -> io::Result<Self> {
        let mut kernel = Netlink::open()?;
        let found = kernel.find(&By::Alternative(&link.long_name))?;
        let found = found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
        Ok(Self { kernel, link, index: found.index, beyond: None, traffic: None })
    }

    /// The connection to the kernel.
    pub(super) fn kernel(&mut self) -> &mut Netlink {
        &mut self.kernel
    }

    /// Makes it a port of its bridge again.
    ///
    /// # Errors
    /// ENODEV without the bridge; those of netlink(7).
    pub(super) fn join_again(&mut self, bridge: &str) -> io::Result<()> {
        let bridge = self.kernel.index(bridge)?;
        self.kernel.join(self.index, bridge)
    }

    /// Routes an address to the guest again, unless there is a route for it.
    ///
    /// # Errors
    /// Those of netlink(7).
    pub(super) fn route_again(&mut self, address: IpAddr) -> io::Result<()> {
        self.kernel.add_neighbour(self.index, address, self.link.guest_mac)?;
        there(self.kernel.route_address(self.index, address, None))
    }

    /// Addresses of the host's end; up.
    fn settle(&mut self) -> io::Result<()> {
        if self.link.ips().any(|ip| ip.is_ipv6()) {
            self.kernel.leave_without_address(self.index)?;
        }
        self.kernel.bring_up(self.index)?;
        self.settle_again()
    }

    /// Addresses of the host's end, as far as they aren't there.
    ///
    /// # Errors
    /// Those of netlink(7).
    pub(super) fn settle_again(&mut self) -> io::Result<()> {
        let has = |v4: bool| self.link.ips().find(|ip| ip.is_ipv4() == v4);
        let mut add = |address, bits, scope| {
            there(self.kernel.add_address(self.index, gateway(address), bits, scope))
        };
        if let Some(address) = has(true) {
            // Good within this host: it is no source of what the host sends.
            add(address, 32, AddressScope::Host)?;
        }
        if let Some(address) = has(false) {
            add(address, 64, AddressScope::Link)?;
        }
        Ok(())
    }

    /// Routes an address to the guest, where the host is to do that.
    ///
    /// # Errors
    /// EEXIST if it is routed already, to another guest or elsewhere; ENODEV
    /// without the interface on which the host is to answer for it.
    pub fn route(&mut self, address: IpAddr) -> io::Result<()> {
        let Far::Host { proxy } = &self.link.far else { return Ok(()) };
        self.kernel.add_neighbour(self.index, address, self.link.guest_mac)?;
        self.kernel.route_address(self.index, address, None)?;
        match proxy {
            Some(interface) => proxy::begin(&mut self.kernel, interface, address),
            None => Ok(()),
        }
    }
}

/// The host's interface behind a door.
fn outside(kernel: &mut Netlink, door: &Door) -> io::Result<Interface> {
    let name = match door {
        Door::Bridge(bridge) => bridge,
        Door::Macvlan(macvlan) => &macvlan.parent,
    };
    kernel.find(&By::Name(name))?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

/// Number of the interface with this long name; `None` without one.
///
/// # Errors
/// Those of netlink(7).
pub fn index(long_name: &str) -> io::Result<Option<u32>> {
    let found = Netlink::open()?.find(&By::Alternative(long_name))?;
    Ok(found.map(|found| found.index))
}

/// Removes the interfaces with these long names, as far as they are there. A
/// link would go with the guest's network namespace, but a moment after its
/// last process, and not while anybody holds that.
///
/// # Errors
/// Those of netlink(7).
pub fn remove(long_names: &[String]) -> io::Result<()> {
    let mut kernel = Netlink::open()?;
    for name in long_names {
        if let Some(found) = kernel.find(&By::Alternative(name))? {
            gone(kernel.remove(found.index))?;
        }
    }
    Ok(())
}

/// Removes what an earlier start has left: known by its long name, or, where
/// it ended before that was given, by its hardware address.
fn remove_leftover(kernel: &mut Netlink, link: &Link) -> io::Result<()> {
    let mut ours = vec![(&link.interface, &link.long_name, link.host_mac)];
    if let Far::Segment { door: Door::Macvlan(macvlan), .. } = &link.far {
        ours.push((&macvlan.interface, &macvlan.long_name, link.guest_mac));
    }
    for (name, long_name, mac) in ours {
        if let Some(found) = kernel.find(&By::Alternative(long_name))? {
            gone(kernel.remove(found.index))?;
        }
        let is_left =
            |found: &Interface| found.mac.as_deref() == Some(&mac) && found.alternatives.is_empty();
        if let Some(found) = kernel.find(&By::Name(name))?.filter(is_left) {
            gone(kernel.remove(found.index))?;
        }
    }
    Ok(())
}

/// It may be there already.
fn there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// It may go by itself meanwhile.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}
