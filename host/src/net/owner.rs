//! Whose an address is, before it becomes a guest's, and whether what the
//! guest is to be joined to is there.

use shared::name::GuestName;

use super::netlink::{By, Interface, Netlink};
use crate::error::{Error, Result};
use crate::plan::network::guest_of;
use crate::plan::{Door, Link};

/// Refuses a start on a bridge or a parent that the host hasn't, or that
/// isn't one.
///
/// # Errors
/// What is wrong with it; those of netlink(7).
pub fn refuse_missing(guest: &GuestName, door: &Door) -> Result<()> {
    let failed = |error| Error::os("cannot ask the kernel for its interfaces", error);
    let mut kernel = Netlink::open().map_err(failed)?;
    let (key, name) = match door {
        Door::Bridge(bridge) => ("network.bridge", bridge),
        Door::Macvlan(macvlan) => ("network.parent", &macvlan.parent),
    };
    let found = kernel.find(&By::Name(name)).map_err(failed)?;
    let wrong = match (&found, door) {
        (None, _) => format!("the host has no interface '{name}'"),
        (Some(found), Door::Bridge(_)) if !found.is_bridge => format!("'{name}' is no bridge"),
        (Some(Interface { controller: Some(_), .. }), Door::Macvlan(_)) => {
            format!("'{name}' is a part of another interface, such as a bridge's port")
        }
        _ => return Ok(()),
    };
    let hint = format!(
        "'ip link' lists the host's interfaces; name another: vserver config set {guest} {key} NAME"
    );
    Err(Error::new(format!("cannot start guest '{guest}': {wrong}")).hint(hint))
}

/// Refuses a start with an address that the host has, or another guest's
/// link. The kernel refuses it too, without saying why, to the second of two
/// that start at the same time.
///
/// # Errors
/// When an address is taken, with whose it is; those of netlink(7).
pub fn refuse_foreign(guest: &GuestName, link: &Link) -> Result<()> {
    let failed = |error| Error::os("cannot ask the kernel for its routes", error);
    let mut kernel = Netlink::open().map_err(failed)?;
    for address in link.ips() {
        let Some(way) = kernel.way(address).map_err(failed)? else { continue };
        if !way.is_exact {
            continue;
        }
        let interface = match way.interface {
            Some(index) => kernel.find(&By::Index(index)).map_err(failed)?,
            None => None,
        };
        // What a supervisor that was killed has left.
        if interface.as_ref().is_some_and(|found| found.alternatives.contains(&link.long_name)) {
            continue;
        }
        let of_guest = interface.iter().flat_map(|found| &found.alternatives);
        let owner = of_guest.into_iter().find_map(|name| guest_of(name));
        let name = interface.as_ref().map_or("another interface", |found| &found.name);
        let taken = match owner {
            Some((other, _)) => format!("it is the address of guest '{other}'"),
            None if way.is_local => format!("it is an address of this host's, on '{name}'"),
            None => format!("this host has a route for it alone, by '{name}'"),
        };
        return Err(Error::new(format!("cannot start guest '{guest}' with {address}: {taken}"))
            .hint(format!("give it another: vserver config set {guest} network.addresses A...")));
    }
    Ok(())
}
