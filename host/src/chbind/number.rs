//! A number for a chbind that is in no context: its loopback address is made of it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::context::{FIRST_DYNAMIC, LAST};

/// One that no other chbind has while the socket is open, from the last one down:
/// contexts' begin at the other end.
///
/// An abstract name is one of the network namespace (unix(7)), as loopback addresses
/// are, and goes with its last holder, without a file. `None` if there is none left:
/// any user of the host may take such a name.
pub fn claim() -> Option<(u32, UnixDatagram)> {
    (FIRST_DYNAMIC..=LAST).rev().find_map(|number| {
        let name = SocketAddr::from_abstract_name(format!("vserver/loopback/{number}")).ok()?;
        Some((number, UnixDatagram::bind_addr(&name).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_have_the_same() {
        let held: Vec<_> = (0..300).map(|_| claim().unwrap()).collect();
        let mut numbers: Vec<_> = held.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 300);
        let first = held.first().unwrap().0;
        drop(held);
        // It is free again.
        assert!(claim().unwrap().0 >= first);
    }
}
