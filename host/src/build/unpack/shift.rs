//! Trees whose owners were shifted for a user namespace. Pure.
//!
//! Managers that have no idmapped mounts write a guest's files with the
//! numbers that its users have on the host: root's files belong to 100000
//! (LXC, subuid(5)), 1000000 (Incus) or a multiple of 65536 (systemd-nspawn,
//! `--private-users-ownership=chown`). Ours keep 0 to 65535 on disk.

use super::acl;
use super::metadata::CAPABILITY;

/// A guest has this many ids.
pub(crate) const IDS: u32 = 65_536;

/// Whose number a guest doesn't have.
pub(crate) const NOBODY: u32 = 65_534;

/// The kernel's names of access lists (acl(5)).
pub(crate) const ACCESS: &str = "system.posix_acl_access";
pub(crate) const DEFAULT: &str = "system.posix_acl_default";

/// By how much owners and groups were shifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::build) struct Shift {
    user: u32,
    group: u32,
}

impl Shift {
    /// What the owner of a tree's root tells: it is shifted root.
    pub(in crate::build) fn of_root(user: u64, group: u64) -> Option<Self> {
        let beyond = |id: u64| u32::try_from(id).ok().filter(|id| *id >= IDS && *id < u32::MAX);
        // A tree of one's own user, say, is not a shifted one.
        let user = beyond(user)?;
        Some(Self { user, group: beyond(group).unwrap_or(0) })
    }

    /// An owner's number inside; `None` when the guest has no such number.
    pub(in crate::build) fn user(self, id: u64) -> Option<u32> {
        inside(id, self.user)
    }

    /// A group's number inside; `None` when the guest has no such number.
    pub(in crate::build) fn group(self, id: u64) -> Option<u32> {
        inside(id, self.group)
    }

    /// By this number, for users and groups; by 0, not at all. `None` for one
    /// that can't be told from a guest's own ids.
    pub(in crate::build) fn by(number: u32) -> Option<Self> {
        let is_right = number == 0 || (IDS..u32::MAX - IDS).contains(&number);
        is_right.then_some(Self { user: number, group: number })
    }

    /// An extended attribute as it is inside; `None` for one that is not for a
    /// guest.
    pub(in crate::build) fn attribute(self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        match str::from_utf8(name).ok()? {
            CAPABILITY => self.capability(value),
            ACCESS | DEFAULT => acl::encode(
                &acl::decode(value)?,
                |who| acl::number(who, |id| self.user(id)),
                |who| acl::number(who, |id| self.group(id)),
            ),
            name => name.starts_with("user.").then(|| value.to_vec()),
        }
    }

    /// A file capability (capabilities(7), vfs_cap_data) as it is without a
    /// user namespace; `None` when it was for another one.
    pub(in crate::build) fn capability(self, value: &[u8]) -> Option<Vec<u8>> {
        const REVISION_3: u8 = 3;
        const REVISION_2: u8 = 2;
        let (Some(REVISION_3), Some(root)) = (value.get(3).copied(), value.get(20..24)) else {
            return Some(value.to_vec());
        };
        let root = u32::from_le_bytes(root.try_into().ok()?);
        let mut plain = value.get(..20)?.to_vec();
        *plain.get_mut(3)? = REVISION_2;
        (root == 0 || root == self.user).then_some(plain)
    }
}

impl std::fmt::Display for Shift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.user, self.group) {
            (user, group) if user == group => write!(f, "{user}"),
            (user, group) => write!(f, "{user} (groups by {group})"),
        }
    }
}

/// Ids that are a guest's already stay: a shift that was interrupted is
/// simply done again.
fn inside(id: u64, base: u32) -> Option<u32> {
    let id = u32::try_from(id).ok()?;
    match id.checked_sub(base) {
        Some(shifted) if shifted < IDS => Some(shifted),
        _ => Some(id).filter(|id| *id < IDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shifted_root_is_told_by_its_owner() {
        assert_eq!(Shift::of_root(0, 0), None);
        assert_eq!(Shift::of_root(1000, 1000), None);
        let lxc = Shift::of_root(100_000, 100_000).unwrap();
        assert_eq!(lxc.user(100_033), Some(33));
        assert_eq!(lxc.user(165_535), Some(65_535));
        assert_eq!(lxc.user(165_536), None);
        assert_eq!(lxc.user(5), Some(5));
        assert_eq!(lxc.to_string(), "100000");
        assert_eq!(Shift::default().user(100_000), None);
    }

    #[test]
    fn a_capability_of_the_shifted_root_becomes_roots() {
        let mut value = vec![1, 0, 0, 3];
        value.extend([0u8; 16]);
        value.extend(100_000u32.to_le_bytes());
        let lxc = Shift::of_root(100_000, 100_000).unwrap();
        let plain = lxc.capability(&value).unwrap();
        assert_eq!((plain.len(), plain[3]), (20, 2));
        assert_eq!(lxc.capability(&plain), Some(plain.clone()));
        assert_eq!(Shift::of_root(200_000, 0).unwrap().capability(&value), None);
        assert_eq!(lxc.capability(&[3]), Some(vec![3]));
    }

    #[test]
    fn access_lists_are_shifted_and_others_attributes_left_out() {
        let lxc = Shift::by(100_000).unwrap();
        let list = |id: u32| {
            let mut bytes = vec![2, 0, 0, 0, 2, 0, 7, 0];
            bytes.extend(id.to_le_bytes());
            bytes
        };
        let name = ACCESS.as_bytes();
        assert_eq!(lxc.attribute(name, &list(100_033)), Some(list(33)));
        assert_eq!(lxc.attribute(name, &list(300_000)), Some(list(NOBODY)));
        assert_eq!(lxc.attribute(b"user.x", b"y"), Some(b"y".to_vec()));
        assert_eq!(lxc.attribute(b"trusted.overlay.opaque", b"y"), None);
        assert_eq!(lxc.attribute(b"security.selinux", b"x"), None);
        assert_eq!((Shift::by(0), Shift::by(1000)), (Some(Shift::default()), None));
    }

    proptest! {
        #[test]
        fn shifting_twice_is_shifting_once(base in IDS..u32::MAX, id in any::<u32>()) {
            let shift = Shift::of_root(base.into(), base.into()).unwrap();
            if let Some(inside) = shift.user(id.into()) {
                prop_assert!(inside < IDS);
                prop_assert_eq!(shift.user(inside.into()), Some(inside));
            }
        }
    }
}
