//! Where in another manager's directory or archive the guest's root is. Pure.

use std::path::Path;

/// A layout that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The root's path below the directory; empty for the directory itself.
    pub(super) root: &'static str,
    /// Whose layout it is, and how it was told.
    pub(super) reason: &'static str,
}

/// What lies beside a root tells whose it is; the first that fits is it.
const LAYOUTS: [(&str, &[&str], &str); 9] = [
    ("rootfs", &["config"], "LXC's: 'config' lies beside it"),
    ("rootfs", &["backup.yaml"], "Incus's or LXD's: 'backup.yaml' lies beside it"),
    ("rootfs", &["metadata.yaml"], "Incus's or LXD's: 'metadata.yaml' lies beside it"),
    ("rootfs", &["config.json"], "a container runtime's: 'config.json' lies beside it"),
    ("rootfs", &[], "a container's: it is called 'rootfs'"),
    ("backup/container/rootfs", &[], "in a backup of Incus's or LXD's"),
    ("fs/root", &[], "OpenVZ's: it is called 'fs/root'"),
    ("fs", &[], "OpenVZ's: it is called 'fs'"),
    ("vdir", &[], "util-vserver's: 'vdir' leads to it"),
];

/// What holds a root, but not as files; and what helps.
const OTHERS: [(&str, &str, &str); 4] = [
    ("oci-layout", "an image", "use '--method oci'"),
    ("root.hdd", "a disk image of OpenVZ's", "mount it with ploop(8), and give the mount point"),
    ("rootfs.squashfs", "a compressed image", "unpack it with unsquashfs(1) first"),
    ("rootfs.img", "a disk image", "mount it, and give the mount point"),
];

/// Top-level directories of a system (hier(7)).
const SYSTEM: [&str; 4] = ["usr", "bin", "sbin", "etc"];

/// Finds the root by asking whether names below the directory are there.
///
/// # Errors
/// What is there instead, if that is known, and what helps.
pub(super) fn find(
    is_there: impl Fn(&str) -> bool,
    is_directory: impl Fn(&str) -> bool,
) -> Result<Layout, (&'static str, &'static str)> {
    let is_system = |root: &str| {
        let path = |name: &str| match root {
            "" => name.to_owned(),
            root => format!("{root}/{name}"),
        };
        SYSTEM.iter().any(|name| is_directory(&path(name)))
    };
    if is_system("") {
        return Ok(Layout { root: "", reason: "a whole system" });
    }
    let fits = |(root, beside, _): &&(&str, &[&str], &str)| {
        is_system(root) && beside.iter().all(|name| is_there(name))
    };
    if let Some((root, _, reason)) = LAYOUTS.iter().find(fits) {
        return Ok(Layout { root, reason });
    }
    let other = OTHERS.iter().find(|(name, _, _)| is_there(name));
    Err(other.map_or(
        ("no system", "'usr', 'etc' and the like must be in it, or in its 'rootfs' or 'fs'"),
        |(_, what, remedy)| (*what, *remedy),
    ))
}

/// Is it where some manager keeps a root?
pub(super) fn is_root(path: &Path) -> bool {
    LAYOUTS.iter().any(|(root, _, _)| Path::new(root) == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(names: &[&str]) -> Result<Layout, (&'static str, &'static str)> {
        let there = |name: &str| {
            names.iter().any(|path| *path == name || path.starts_with(&format!("{name}/")))
        };
        find(there, there)
    }

    #[test]
    fn every_managers_layout_is_told() {
        for (names, root, word) in [
            (["etc/passwd", "rootfs/etc"].as_slice(), "", "whole system"),
            (&["config", "rootfs/usr/bin"], "rootfs", "LXC's"),
            (&["backup.yaml", "rootfs/etc", "templates"], "rootfs", "Incus's"),
            (&["metadata.yaml", "rootfs/bin"], "rootfs", "Incus's"),
            (&["config.json", "rootfs/bin"], "rootfs", "runtime"),
            (&["rootfs/sbin", "rw"], "rootfs", "called 'rootfs'"),
            (
                &["backup/index.yaml", "backup/container/rootfs/etc"],
                "backup/container/rootfs",
                "a backup",
            ),
            (&["ve.conf", "fs/root/etc"], "fs/root", "OpenVZ's"),
            (&["ve.conf", "fs/etc"], "fs", "OpenVZ's"),
            (&["context", "vdir/etc"], "vdir", "util-vserver's"),
        ] {
            let found = of(names).unwrap();
            assert_eq!(found.root, root, "{names:?}");
            assert!(found.reason.contains(word), "{names:?}: {}", found.reason);
        }
    }

    #[test]
    fn what_is_no_tree_of_files_is_named() {
        for (names, word) in [
            (["oci-layout", "index.json"].as_slice(), "--method oci"),
            (&["root.hdd/root.hds", "fs"], "ploop"),
            (&["rootfs.squashfs", "metadata.yaml"], "unsquashfs"),
            (&["config", "rootfs"], "'rootfs'"),
            (&[], "'usr'"),
        ] {
            let (_, remedy) = of(names).unwrap_err();
            assert!(remedy.contains(word), "{names:?}: {remedy}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_a_system(bits in any::<u16>()) {
            let all = ["config", "rootfs/etc", "fs/etc", "fs/root/usr", "vdir/bin", "etc", "oci-layout"];
            let names: Vec<&str> = (0..).zip(all).filter(|(at, _)| bits >> at & 1 == 1).map(|(_, name)| name).collect();
            match of(&names) {
                Ok(found) => {
                    let below = |name: &&str| match found.root {
                        "" => *name == "etc",
                        root => name.strip_prefix(root).is_some_and(|rest| SYSTEM.iter().any(|dir| rest == format!("/{dir}"))),
                    };
                    prop_assert!(names.iter().any(below));
                }
                Err(_) => prop_assert!(!names.iter().any(|name| name.contains("etc") || name.contains("usr") || name.contains("bin"))),
            }
        }
    }
}
