//! Ids of a guest's users as they are inside, 0 to 65535, and as this process
//! sees them on the guest's files: the same numbers on the disk, others through
//! the mounts of a guest that runs with private ids. Pure.

use crate::build::{ACCESS, CAPABILITY, DEFAULT, IDS, NOBODY, acl};

/// Whose ids are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    /// What root's is seen as.
    base: u32,
    /// How many a guest has.
    count: u32,
}

impl Owners {
    /// Of a guest with ids of its own, whose root is seen as this one.
    pub fn from(base: u32) -> Self {
        Self { base, count: IDS }
    }

    /// Of one that has all of the host's, and of the host.
    pub fn all() -> Self {
        Self { base: 0, count: u32::MAX }
    }

    /// What the guest's root is seen as.
    pub fn root(self) -> u32 {
        self.base
    }

    /// What it is inside; `None` for one that the guest hasn't.
    pub fn inside(self, seen: u32) -> Option<u32> {
        seen.checked_sub(self.base).filter(|id| *id < self.count)
    }

    /// As what an id of inside is seen; `None` for one that the guest hasn't.
    pub fn seen(self, inside: u32) -> Option<u32> {
        if inside < self.count { self.base.checked_add(inside) } else { None }
    }
}

/// From one side to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Those of the side that is read.
    pub from: Owners,
    /// Those of the side that is written.
    pub to: Owners,
}

impl Way {
    /// An owner on the other side; nobody for one that isn't known there. The
    /// flag tells that it is so.
    pub fn owner(self, seen: u32) -> (u32, bool) {
        let known = self.from.inside(seen).and_then(|id| self.to.seen(id));
        // Whoever the kernel has no number for is nobody everywhere.
        let nobody = || self.to.seen(NOBODY).unwrap_or(NOBODY);
        known.map_or_else(|| (nobody(), seen != NOBODY), |id| (id, false))
    }

    /// An extended attribute on the other side, if owners are kept; `None` for
    /// one that is left behind.
    pub fn attribute(self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        match str::from_utf8(name).ok()? {
            CAPABILITY => self.capability(value),
            ACCESS | DEFAULT => {
                let id = |who: &acl::Who| {
                    acl::number(who, |id| u32::try_from(id).ok().map(|id| self.owner(id).0))
                };
                acl::encode(&acl::decode(value)?, id, id)
            }
            name => name.starts_with("user.").then(|| value.to_vec()),
        }
    }

    /// A file capability (capabilities(7), linux/capability.h): revision 2 is
    /// for the root of this namespace, 3 has the root's id at the end.
    fn capability(self, value: &[u8]) -> Option<Vec<u8>> {
        const REVISION: usize = 3;
        const LENGTH: usize = 20;
        let root = match (value.get(REVISION)?, value.get(LENGTH..)?) {
            (2, []) => 0,
            (3, root) => u32::from_le_bytes(root.try_into().ok()?),
            _ => return None,
        };
        // Of another user namespace's root, which the other side hasn't.
        if root != self.from.root() {
            return None;
        }
        let mut value = value.get(..LENGTH)?.to_vec();
        let revision = value.get_mut(REVISION)?;
        match self.to.root() {
            0 => *revision = 2,
            root => {
                *revision = 3;
                value.extend(root.to_le_bytes());
            }
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: u32 = 0x7000_0000;

    fn out() -> Way {
        Way { from: Owners::from(BASE), to: Owners::all() }
    }

    fn into() -> Way {
        Way { from: Owners::all(), to: Owners::from(BASE) }
    }

    #[test]
    fn owners_are_those_of_inside() {
        assert_eq!(out().owner(BASE + 33), (33, false));
        assert_eq!(into().owner(33), (BASE + 33, false));
        // The host's own files, seen in a guest, and ids that no guest has.
        assert_eq!(out().owner(0), (NOBODY, true));
        assert_eq!(out().owner(BASE + IDS), (NOBODY, true));
        assert_eq!(into().owner(IDS), (BASE + NOBODY, true));
        assert_eq!(out().owner(NOBODY), (NOBODY, false));
        let host = Way { from: Owners::all(), to: Owners::all() };
        assert_eq!(host.owner(100_000), (100_000, false));
    }

    #[test]
    fn capabilities_are_those_of_the_other_sides_root() {
        let mut plain = vec![1, 0, 0, 2];
        plain.extend([7u8; 16]);
        let mut theirs = plain.clone();
        theirs[3] = 3;
        theirs.extend(BASE.to_le_bytes());
        let name = CAPABILITY.as_bytes();
        assert_eq!(into().attribute(name, &plain), Some(theirs.clone()));
        assert_eq!(out().attribute(name, &theirs), Some(plain.clone()));
        assert_eq!(into().attribute(name, &theirs), None);
        assert_eq!(out().attribute(name, &plain), None);
        assert_eq!(out().attribute(name, &[3]), None);
    }

    #[test]
    fn lists_are_translated_and_what_is_the_hosts_is_left_behind() {
        let list = |id: u32| {
            let mut bytes = vec![2, 0, 0, 0, 2, 0, 7, 0];
            bytes.extend(id.to_le_bytes());
            bytes
        };
        let name = ACCESS.as_bytes();
        assert_eq!(out().attribute(name, &list(BASE + 33)), Some(list(33)));
        assert_eq!(into().attribute(name, &list(33)), Some(list(BASE + 33)));
        assert_eq!(into().attribute(b"user.x", b"y"), Some(b"y".to_vec()));
        for name in ["trusted.x", "security.selinux", "system.other"] {
            assert_eq!(into().attribute(name.as_bytes(), b"y"), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same(id in 0..IDS) {
            prop_assert_eq!(out().owner(into().owner(id).0), (id, false));
        }

        #[test]
        fn nothing_goes_in_that_is_not_the_guests(id: u32) {
            let (seen, _) = into().owner(id);
            prop_assert!((BASE..BASE + IDS).contains(&seen));
        }

        #[test]
        fn no_bytes_do_harm(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            for name in [CAPABILITY, ACCESS, DEFAULT] {
                let _ = into().attribute(name.as_bytes(), &value);
            }
        }
    }
}
