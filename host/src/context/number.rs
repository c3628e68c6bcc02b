//! Numbers of contexts, and what they are for.
//!
//! Pure. Linux-VServer's ranges: 0 is the host, 1 the spectator, 2 to 49151
//! are chosen by whoever makes a context, 49152 to 65535 are given out.

use core::net::{Ipv4Addr, Ipv6Addr};

use shared::name::ContextId;

/// The host.
pub const HOST: u32 = 0;

/// The spectator, which sees all processes and can signal none.
pub const SPECTATOR: u32 = 1;

/// The first number that is given out.
pub const FIRST_DYNAMIC: u32 = ContextId::MAX_STATIC + 1;

/// The last number there is.
pub const LAST: u32 = 65_535;

/// The number that is given to a new context, from its PID namespace's inode.
///
/// The kernel gives no two namespaces that exist the same inode, and gives
/// the lowest free one, from `PROC_DYNAMIC_FIRST` (0xf0000000) on. So numbers
/// differ without a register, also between root's contexts and those of
/// ordinary users, unless 16,384 namespaces exist at a time.
pub fn dynamic(inode: u64) -> u32 {
    let count = u64::from(LAST - FIRST_DYNAMIC + 1);
    // The remainder is below 16,384.
    FIRST_DYNAMIC + (inode % count) as u32
}

/// May a new context be made under this number?
pub fn is_static(number: u32) -> bool {
    (ContextId::MIN..=ContextId::MAX_STATIC).contains(&number)
}

/// Linux-VServer's loopback address of a context's own: 127.x.y.1, where x
/// and y are the number. The host's is none of them.
pub fn loopback(number: u32) -> Option<Ipv4Addr> {
    let [.., high, low] = number.to_be_bytes();
    (2..=LAST).contains(&number).then(|| Ipv4Addr::new(127, high, low, 1))
}

/// Its counterpart for IPv6, where the host has but ::1: an address of a
/// network that is nobody's (RFC 4193), on the loopback interface. An installation
/// below a prefix ([`crate::paths::Paths::instance`]) has its own ones.
pub fn loopback6(number: u32, instance: &str) -> Option<Ipv6Addr> {
    const NETWORK: [u16; 3] = [0xfd76, 0x7365, 0x7276];
    let [a, b, c] = NETWORK;
    let number = u16::try_from(number).ok()?;
    let hash = u32::from_str_radix(instance, 16).unwrap_or(0);
    let [high, low] = [(hash >> 16) as u16, (hash & 0xffff) as u16];
    (2..=LAST).contains(&number.into()).then(|| Ipv6Addr::new(a, b, c, 0, high, low, number, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_namespace_has_the_first_number() {
        assert_eq!(dynamic(0xf000_0000), 49_152);
        assert_eq!(dynamic(0xf000_0001), 49_153);
    }

    #[test]
    fn contexts_have_loopback_addresses() {
        assert_eq!(loopback(42), Some(Ipv4Addr::new(127, 0, 42, 1)));
        assert_eq!(loopback(40_017), Some(Ipv4Addr::new(127, 156, 81, 1)));
        assert_eq!(loopback(HOST), None);
        assert_eq!(loopback(SPECTATOR), None);
        assert_eq!(loopback(LAST + 1), None);
        let own = |instance| loopback6(40_017, instance).map(|own| own.to_string());
        assert_eq!(own("").as_deref(), Some("fd76:7365:7276::9c51:1"));
        assert_eq!(own("0123abcd").as_deref(), Some("fd76:7365:7276:0:123:abcd:9c51:1"));
        assert_eq!(loopback6(LAST + 1, ""), None);
    }

    proptest! {
        #[test]
        fn namespaces_near_each_other_have_different_numbers(inode: u32, distance in 1u64..16_384) {
            let inode = u64::from(inode);
            let (one, other) = (dynamic(inode), dynamic(inode + distance));
            prop_assert_ne!(one, other);
            for number in [one, other] {
                prop_assert!((FIRST_DYNAMIC..=LAST).contains(&number) && !is_static(number));
            }
        }
    }
}
