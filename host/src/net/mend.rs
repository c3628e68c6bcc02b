//! What a guest's link has lost on the host's side while the guest runs, and how
//! it gets that back.
//!
//! The kernel takes entries away with the state of an interface, and gives none
//! back: routes and neighbours of one that is set down, and what the host answers
//! for on it (`pneigh_ifdown`, net/core/neighbour.c); the ports of a bridge that is
//! made anew, as a restart of the host's network scripts does. Filters stay where
//! they are all the while.

use core::fmt;
use std::io;
use std::net::IpAddr;

use super::host::Host;
use super::netlink::{By, Netlink};
use super::proxy;
use crate::plan::{Door, Far, Link};

/// What is missing of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The host's route to this address.
    Route(IpAddr),
    /// The host's answers for this address on this interface.
    Answer(IpAddr, String),
    /// Its place among the ports of this bridge.
    Port(String),
    /// The host's end, which is down.
    Down(String),
    /// An interface of the host's that the configuration names.
    Absent(String),
    /// An interface of the guest's own, which went with another one or was removed.
    Gone(String),
    /// An address that a guest on the host's stack is held to.
    Strange(IpAddr),
}

impl Fault {
    /// What an administrator can do; nothing where [`mend`] does it.
    pub fn remedy(&self, guest: &str) -> Option<String> {
        match self {
            Self::Route(_) | Self::Answer(..) | Self::Port(_) => None,
            Self::Down(interface) => Some(format!("ip link set {interface} up")),
            Self::Absent(interface) => {
                Some(format!("the guest has its network again when '{interface}' is there"))
            }
            Self::Gone(_) => Some(format!("vserver reboot {guest}")),
            Self::Strange(ip) => Some(format!("ip address add {ip} dev DEVICE")),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(ip) => write!(f, "the host has no route to {ip} any more"),
            Self::Answer(ip, interface) => {
                write!(f, "the host doesn't answer for {ip} on '{interface}' any more")
            }
            Self::Port(bridge) => write!(f, "the guest's link is no port of '{bridge}' any more"),
            Self::Down(interface) => {
                write!(f, "the host's end of its link, '{interface}', is down")
            }
            Self::Absent(interface) => write!(f, "the host has no interface '{interface}'"),
            Self::Gone(interface) => write!(f, "the guest's interface '{interface}' has gone"),
            Self::Strange(ip) => write!(f, "the host doesn't have the address {ip}"),
        }
    }
}

/// What is missing of the link of a guest that runs. Changes nothing.
///
/// # Errors
/// Those of netlink(7).
pub fn look(link: &Link) -> io::Result<Vec<Fault>> {
    let mut kernel = Netlink::open()?;
    let Some(own) = kernel.find(&By::Alternative(&link.long_name))? else {
        return Ok(vec![Fault::Gone(link.interface.clone())]);
    };
    if !own.is_up {
        return Ok(vec![Fault::Down(link.interface.clone())]);
    }
    let mut faults = Vec::new();
    match &link.far {
        Far::Host { proxy } => {
            for ip in link.ips() {
                let is_there = |way: &super::Way| way.is_exact && way.interface == Some(own.index);
                if !kernel.way(ip)?.is_some_and(|way| is_there(&way)) {
                    faults.push(Fault::Route(ip));
                }
            }
            if let Some(interface) = proxy {
                faults.extend(unanswered(&mut kernel, link, interface)?);
            }
        }
        Far::Segment { door: Door::Bridge(bridge), .. } => {
            match kernel.find(&By::Name(bridge))? {
                None => faults.push(Fault::Absent(bridge.clone())),
                // Whoever has made it another's port wants it there.
                Some(_) if own.controller.is_some() => {}
                Some(_) => faults.push(Fault::Port(bridge.clone())),
            }
        }
        Far::Segment { door: Door::Macvlan(macvlan), .. } => {
            if kernel.find(&By::Alternative(&macvlan.long_name))?.is_none() {
                faults.push(Fault::Gone(macvlan.interface.clone()));
            }
        }
    }
    Ok(faults)
}

/// Which of these addresses the host doesn't have, of a guest that uses its stack.
///
/// # Errors
/// Those of netlink(7).
pub fn strange(addresses: &[IpAddr]) -> io::Result<Vec<Fault>> {
    let mut kernel = Netlink::open()?;
    let mut faults = Vec::new();
    for ip in addresses {
        if !kernel.way(*ip)?.is_some_and(|way| way.is_local) {
            faults.push(Fault::Strange(*ip));
        }
    }
    Ok(faults)
}

fn unanswered(kernel: &mut Netlink, link: &Link, interface: &str) -> io::Result<Vec<Fault>> {
    let Some(found) = kernel.find(&By::Name(interface))? else {
        return Ok(vec![Fault::Absent(interface.to_owned())]);
    };
    let mut faults = Vec::new();
    // The kernel would drop them again.
    for ip in link.ips().filter(|_| found.is_up) {
        if !kernel.answers_for(found.index, ip)? {
            faults.push(Fault::Answer(ip, interface.to_owned()));
        }
    }
    Ok(faults)
}

/// Mends this. What is there already is left as it is.
///
/// # Errors
/// Those of netlink(7).
pub fn mend(link: &Link, fault: &Fault) -> io::Result<()> {
    let mut host = Host::of_running(link)?;
    match fault {
        Fault::Route(ip) => host.settle_again().and_then(|()| host.route_again(*ip)),
        Fault::Answer(ip, interface) => proxy::begin(host.kernel(), interface, *ip),
        Fault::Port(bridge) => host.join_again(bridge),
        Fault::Down(_) | Fault::Absent(_) | Fault::Gone(_) | Fault::Strange(_) => Ok(()),
    }
}
