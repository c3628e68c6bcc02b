//! Whose an address is, before it becomes a guest's.

use shared::name::GuestName;

use super::netlink::{By, Netlink};
use crate::error::{Error, Result};
use crate::plan::network::{Link, guest_of};

/// Refuses a start with an address that the host has, or another guest's
/// link. The kernel refuses it too, without saying why, to the second of two
/// that start at the same time.
///
/// # Errors
/// When an address is taken, with whose it is; those of netlink(7).
pub fn refuse_foreign(guest: &GuestName, link: &Link) -> Result<()> {
    let failed = |error| Error::os("cannot ask the kernel for its routes", error);
    let mut kernel = Netlink::open().map_err(failed)?;
    for address in &link.addresses {
        let Some(way) = kernel.way(*address).map_err(failed)? else { continue };
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
