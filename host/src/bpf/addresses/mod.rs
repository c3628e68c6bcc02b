//! The programs that give a cgroup addresses of its own on the host's network
//! stack: Linux-VServer's `ipv4root`.
//!
//! Two of them enforce (`packets`): whatever leaves has one of the addresses
//! as its source, whatever arrives as its destination, however the socket came
//! by its address. One keeps sockets away that those don't see (`create`). The
//! others make it natural (`bind`, `connect`, `send`, `names`): what means any
//! address means the own one, 127.0.0.1 is the cgroup's own 127.x.y.1, and
//! what belongs to others is refused where it is asked for.
//!
//! Addresses are constants in the programs. Where one socket is to serve all of
//! them, listening sockets are kept in maps (`serve`).

mod bind;
mod connect;
mod create;
mod layout;
mod names;
mod packets;
mod send;
mod serve;
mod words;

use core::net::{Ipv4Addr, Ipv6Addr};

pub use layout::Layout;
pub use serve::{ADDRESSES, KEY, LISTENERS, Maps, lookup};

use super::Program;
use super::traffic::Way;
use crate::sys::bpf::{Call, Hook};

/// Addresses of a cgroup's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 addresses with the bits of their networks. The first is the
    /// source of what goes to none of these networks.
    pub v4: Vec<(Ipv4Addr, u8)>,
    /// IPv6 addresses, as well.
    pub v6: Vec<(Ipv6Addr, u8)>,
    /// Broadcast addresses that sockets may be bound to.
    pub broadcasts: Vec<Ipv4Addr>,
    /// What 127.0.0.1 means, an address of 127.0.0.0/8.
    pub loopback: Ipv4Addr,
    /// What ::1 means; without one there is no such address.
    pub loopback6: Option<Ipv6Addr>,
    /// Root of a user namespace, where ports below 1024 are its own to give.
    pub root: Option<Root>,
}

/// Root of a guest with ids of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its number on the host.
    pub uid: u32,
}

/// Most addresses of both families, so that every program is one that the
/// kernel takes and a jump spans.
pub const MOST: usize = 256;

/// What the programs have besides the addresses, as far as it is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Means {
    /// Without the kernel's layout, ports below 1024 go by the caller's uid, and
    /// sockets that speak IPv6 alone are taken for such that speak both.
    pub layout: Option<Layout>,
    /// Without maps a socket serves one address.
    pub maps: Option<Maps>,
    /// Descriptor of the map in which traffic is counted.
    pub traffic: Option<i32>,
}

/// All of the programs, those that enforce first.
pub fn programs(addresses: &Addresses, means: Means) -> Vec<(Hook, Program)> {
    let Means { layout, maps, traffic } = means;
    let (name4, name6) = (names::name4(addresses), names::name6(addresses));
    let mut all = vec![
        (Hook::Egress, packets::program(addresses, Way::Out, traffic)),
        (Hook::Ingress, packets::program(addresses, Way::In, traffic)),
        (Hook::SocketCreate, create::filter()),
        (Hook::Address(Call::Bind4), bind::bind4(addresses, layout, maps)),
        (Hook::Address(Call::Bind6), bind::bind6(addresses, layout, maps)),
        (Hook::Address(Call::Connect4), connect::connect4(addresses)),
        (Hook::Address(Call::Connect6), connect::connect6(addresses)),
        (Hook::Address(Call::Send4), send::send4(addresses)),
        (Hook::Address(Call::Send6), send::send6(addresses)),
        (Hook::Address(Call::Receive4), name4.clone()),
        (Hook::Address(Call::PeerName4), name4.clone()),
        (Hook::Address(Call::SocketName4), name4),
        (Hook::Address(Call::Receive6), name6.clone()),
        (Hook::Address(Call::PeerName6), name6.clone()),
        (Hook::Address(Call::SocketName6), name6),
    ];
    all.extend(maps.map(|maps| (Hook::SocketEvent, serve::listen(maps))));
    all
}

impl Addresses {
    /// Every address, the loopback ones included, as a key of the map of maps
    /// that [`lookup`] takes.
    pub fn keys(&self) -> impl Iterator<Item = [u8; 16]> {
        let v4 = self.all4().map(|ip| ip.to_ipv6_mapped());
        v4.chain(self.all6()).map(|ip| ip.octets())
    }

    /// Every IPv4 address, the loopback one included.
    fn all4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.v4.iter().map(|(ip, _)| *ip).chain([self.loopback])
    }

    /// Every IPv6 address, as well.
    fn all6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.v6.iter().map(|(ip, _)| *ip).chain(self.loopback6)
    }

    /// What any IPv4 address means.
    fn first4(&self) -> Ipv4Addr {
        self.v4.first().map_or(self.loopback, |(ip, _)| *ip)
    }

    /// What any IPv6 address means: an IPv4 address in IPv6 form where there
    /// is no other, as sockets that speak both can have it.
    fn first6(&self) -> Ipv6Addr {
        let first = self.v6.first().map(|(ip, _)| *ip);
        let v4 = self.v4.first().map(|(ip, _)| ip.to_ipv6_mapped());
        first.or(v4).or(self.loopback6).unwrap_or_else(|| self.loopback.to_ipv6_mapped())
    }
}

#[cfg(test)]
mod tests;
