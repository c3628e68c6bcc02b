//! `chbind`: commands with addresses of their own on the host's network
//! stack, without a guest.
//!
//! The command runs in a new cgroup below its caller's (`place`), which has
//! the programs of `bpf::addresses`. A chbind in a chbind can only take away:
//! the programs of both cgroups hold. A process that stays outside removes
//! the cgroup when the last process in it has ended (`watcher`).

mod number;
mod options;
mod place;
mod watcher;

use core::net::{IpAddr, Ipv4Addr};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use nix::ifaddrs::getifaddrs;
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};

use crate::bpf::addresses::{Addresses, MOST, Means};
use crate::cgroup::{self, Serving};
use crate::context::{self, Shown};
use crate::error::{Error, Kind, Result};
use crate::facts;
use crate::plan::syscalls::SOCKETCALL_NEW;
use crate::seccomp::{self, Answer, Rule, When};
use crate::sys;

pub use options::Given;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The addresses, the default source first.
    pub addresses: Vec<Given>,
    /// Broadcast addresses that may be received from.
    pub broadcasts: Vec<Ipv4Addr>,
    /// What 127.0.0.1 shall mean.
    pub loopback: Option<Ipv4Addr>,
    /// The number that such an address is made of.
    pub number: Option<u32>,
}

/// The calling process has its addresses.
#[derive(Debug)]
pub struct Bound {
    /// All of them, in order.
    pub addresses: Vec<IpAddr>,
    lines: [String; 2],
    shown: Shown,
}

/// Packet sockets see and send whatever they like, past the addresses of
/// sockets. They are refused here, not by a hook: that needs a security
/// module which many hosts don't have. What doesn't show the family goes with
/// them: programs of 32 bits have had socket(2) as well since Linux 4.3.
const NO_PACKETS: [Rule; 3] = [
    Rule {
        calls: &["socket"],
        when: When::OneOf { argument: 0, values: &[libc::AF_PACKET as u32] },
        answer: Answer::NotPermitted,
    },
    Rule {
        calls: &["socketcall"],
        when: When::OneOf { argument: 0, values: &SOCKETCALL_NEW },
        answer: Answer::NotPermitted,
    },
    Rule { calls: &["io_uring_setup"], when: When::Always, answer: Answer::NotPermitted },
];

/// Gives the calling process, and what it executes, these addresses for good.
///
/// # Errors
/// When the caller isn't root of the host, and when the kernel refuses; then
/// nothing is left.
pub fn enter(wish: &Wish) -> Result<Bound> {
    let fail = |error: io::Error| Error::os("cannot bind the command to addresses", error);
    if !rustix::process::geteuid().is_root() || facts::is_in_user_namespace() {
        return Err(Error::of(Kind::Permission, "only the host's root can bind to addresses")
            .hint("the kernel lets nobody else judge sockets; run chbind as root, on the host"));
    }
    let mut addresses = listed(wish)?;
    let parent = cgroup::own()?;
    let place = place::make(&parent).map_err(fail)?;
    let directory = place.directory().to_owned();
    let serving = serving(&addresses);
    // From here on the cgroup is removed also when something fails.
    let link = serving.as_ref().and_then(Serving::link);
    let given = wish.number.or_else(context::own_number);
    let claimed = if given.is_none() { number::claim() } else { None };
    let held = link.into_iter().chain(claimed.as_ref().map(|(_, name)| name.as_fd()));
    let gate = watcher::start(place, &held.collect::<Vec<_>>()).map_err(fail)?;
    let number = given.or(claimed.map(|(number, _)| number)).unwrap_or_else(|| {
        // Cgroups that exist have different inodes, though not for the remainder.
        context::dynamic(fs::metadata(&directory).map_or(0, |found| found.ino()))
    });
    addresses.loopback = loopback(wish, &addresses, number)?;
    serving.as_ref().map_or(Ok(()), |serving| serving.lead(&addresses)).map_err(fail)?;
    let means = Means {
        layout: serving.as_ref().and_then(|_| facts::kernel_layout()),
        maps: serving.as_ref().map(Serving::maps),
        traffic: None,
    };
    cgroup::set_addresses(&directory, &addresses, means).map_err(fail)?;
    let programs = seccomp::compile(&NO_PACKETS).map_err(|error| fail(io::Error::other(error)))?;
    cgroup::enter(&directory).map_err(fail)?;
    drop(gate);
    programs.iter().try_for_each(|program| sys::seccomp::install(program)).map_err(fail)?;
    leave_mounts().map_err(fail)?;
    let shown = Shown::new().map_err(fail)?;
    let broadcast = addresses.broadcasts.first().copied().unwrap_or(Ipv4Addr::BROADCAST);
    let lines = context::address_lines(&addresses.v4, broadcast);
    let v4 = addresses.v4.into_iter().map(|(ip, _)| IpAddr::V4(ip));
    let all = v4.chain(addresses.v6.into_iter().map(|(ip, _)| IpAddr::V6(ip))).collect();
    Ok(Bound { addresses: all, lines, shown })
}

/// Lets a socket serve several addresses, if the kernel has the means. With
/// one address there is nothing to lead.
fn serving(addresses: &Addresses) -> Option<Serving> {
    if addresses.v4.len() + addresses.v6.len() < 2 {
        return None;
    }
    let warn = |error: &io::Error| {
        tracing::warn!("a socket that is bound to any address serves one address only: {error}");
    };
    Serving::alone().inspect_err(warn).ok()
}

/// Takes mounts of its own, which follow the host's and don't go back there.
/// A cover over a status file in the host's /proc would keep every guest with
/// a user namespace from mounting a /proc of its own: nothing of the host's
/// may be covered then (`mount_too_revealing`, fs/namespace.c).
fn leave_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    nix::mount::mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    Ok(())
}

impl Bound {
    /// Has the status file of the calling process tell its addresses, as late
    /// as can be.
    ///
    /// # Errors
    /// Those of reading and writing it.
    pub fn show(self, program: &str) -> Result<()> {
        let written = self.shown.write(program, &self.lines);
        written.map_err(|error| Error::os("cannot make the status file", error))
    }
}

/// The addresses that are meant.
fn listed(wish: &Wish) -> Result<Addresses> {
    let mut addresses = Addresses {
        v4: Vec::new(),
        v6: Vec::new(),
        broadcasts: wish.broadcasts.clone(),
        loopback: Ipv4Addr::LOCALHOST,
        loopback6: None,
        root: None,
    };
    let mut add = |ip: IpAddr, bits: u8| match ip {
        IpAddr::V4(ip) if !addresses.v4.iter().any(|(known, _)| *known == ip) => {
            addresses.v4.push((ip, bits));
            addresses.broadcasts.extend(options::broadcast(ip, bits));
        }
        IpAddr::V6(ip) if !addresses.v6.iter().any(|(known, _)| *known == ip) => {
            addresses.v6.push((ip, bits));
        }
        _ => {}
    };
    for given in &wish.addresses {
        match given {
            Given::Address(ip, bits) => add(*ip, *bits),
            Given::Device(name) => {
                of_device(name)?.into_iter().for_each(|(ip, bits)| add(ip, bits))
            }
        }
    }
    if addresses.v4.len() + addresses.v6.len() > MOST {
        return Err(Error::usage(format!("more than {MOST} addresses")));
    }
    Ok(addresses)
}

/// The addresses of an interface, without those that are good for one link
/// only.
fn of_device(name: &str) -> Result<Vec<(IpAddr, u8)>> {
    let fail = |error: nix::Error| Error::os("cannot list the interfaces", error);
    let mut found = Vec::new();
    let mut is_there = false;
    for entry in getifaddrs().map_err(fail)?.filter(|entry| entry.interface_name == name) {
        is_there = true;
        let Some(address) = entry.address else { continue };
        let mask = entry.netmask;
        if let Some(v4) = address.as_sockaddr_in() {
            let mask = mask.as_ref().and_then(|mask| mask.as_sockaddr_in());
            let bits = mask.map_or(32, |mask| mask.ip().to_bits().leading_ones());
            found.push((IpAddr::V4(v4.ip()), bits as u8));
        } else if let Some(v6) = address.as_sockaddr_in6()
            && !v6.ip().is_unicast_link_local()
        {
            let mask = mask.as_ref().and_then(|mask| mask.as_sockaddr_in6());
            let bits = mask.map_or(128, |mask| mask.ip().to_bits().leading_ones());
            found.push((IpAddr::V6(v6.ip()), bits as u8));
        }
    }
    match (is_there, found.is_empty()) {
        (false, _) => Err(Error::new(format!("there is no interface '{}'", name.escape_debug()))
            .hint("'--ip' takes an address, such as 192.0.2.10, or an interface's name")),
        (true, true) => Err(Error::new(format!("the interface '{name}' has no address"))),
        (true, false) => Ok(found),
    }
}

/// What 127.0.0.1 means: Linux-VServer's 127.x.y.1 of the number, unless
/// 127.0.0.1 itself or another one is asked for.
fn loopback(wish: &Wish, addresses: &Addresses, number: u32) -> Result<Ipv4Addr> {
    if let Some(given) = wish.loopback {
        return Ok(given);
    }
    if addresses.v4.iter().any(|(ip, _)| *ip == Ipv4Addr::LOCALHOST) {
        return Ok(Ipv4Addr::LOCALHOST);
    }
    context::loopback(number).ok_or_else(|| {
        Error::usage(format!("no loopback address belongs to number {number}"))
            .hint("'--nid' takes a number from 2 to 65535")
    })
}
