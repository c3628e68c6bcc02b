//! Covers what has the registers and the memory of devices as files, which
//! the host's uid 0 may read and map: the buses, wherever they lie below
//! /sys/devices. Interfaces and disks on them, which have no such files, stay
//! to be seen, or links in /sys/class/net and /sys/block would lead nowhere.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, open_tree};
use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};

use crate::sys::mount::{self as attributes, Attributes};

use super::mounts::{attach, directory, locate_if_there};

/// Links to all buses, also to those on which nothing is yet.
const BUSES: &str = "sys/class/pci_bus";

/// Links to what is shown.
const SHOWN: [&str; 2] = ["sys/class/net", "sys/block"];

/// # Errors
/// Those of mounting.
pub fn hide(root: BorrowedFd<'_>) -> io::Result<()> {
    let buses: BTreeSet<String> =
        targets(root, BUSES)?.iter().filter_map(|path| bus(path).map(str::to_owned)).collect();
    let mut shown = Vec::new();
    for path in
        SHOWN.map(|links| targets(root, links)).into_iter().collect::<io::Result<Vec<_>>>()?
    {
        shown.extend(path);
    }
    for bus in &buses {
        cover(root, bus, shown.iter().filter(|path| self::bus(path) == Some(bus)))?;
    }
    Ok(())
}

/// An empty directory on top, but for these places below it.
fn cover<'a>(
    root: BorrowedFd<'_>,
    bus: &str,
    shown: impl Iterator<Item = &'a String>,
) -> io::Result<()> {
    let Some(place) = locate_if_there(root, bus)? else { return Ok(()) };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mut trees = Vec::new();
    for path in shown {
        // It may have been taken out meanwhile.
        if let Some(found) = locate_if_there(root, path)? {
            trees.push((path, open_tree(&found, "", flags)?));
        }
    }
    let tree = empty()?;
    attach(&tree, &place)?;
    for (path, shown) in trees {
        let below = path.match_indices('/').map(|(end, _)| &path[..end]);
        for parent in below.filter(|parent| parent.len() > bus.len()).chain([path.as_str()]) {
            directory(root, parent, 0o555)?;
        }
        if let Some(place) = locate_if_there(root, path)? {
            attach(&shown, &place)?;
        }
    }
    let wanted = Attributes { set: attributes::RDONLY, ..Attributes::default() };
    attributes::set_attributes(tree.as_fd(), false, &wanted)
}

fn empty() -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("source", "tmpfs"), ("mode", "0555"), ("size", "4k")] {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// Where the links in a directory of the kernel's lead to; none if this
/// kernel hasn't that directory.
fn targets(root: BorrowedFd<'_>, links: &str) -> io::Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let directory = match openat2(root, links, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        // Not all of them are links.
        let Ok(link) = readlinkat(&directory, entry.file_name(), Vec::new()) else { continue };
        found.extend(link.to_str().ok().and_then(target));
    }
    Ok(found)
}

/// What a link two or more directories below /sys means: a path relative to
/// the guest's root.
fn target(link: &str) -> Option<String> {
    let path = link.trim_start_matches("../");
    let is_plain = path.split('/').all(|part| !["", ".", ".."].contains(&part));
    (path.starts_with("devices/") && is_plain).then(|| format!("sys/{path}"))
}

/// The outermost PCI bus that a path leads through.
fn bus(path: &str) -> Option<&str> {
    let at = path.find("/pci")?;
    let end = path[at + 1..].find('/').map_or(path.len(), |end| at + 1 + end);
    path.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The second is a machine on Hyper-V, the third has a bus in a bus.
    #[test]
    fn the_outermost_bus_is_covered() {
        for (link, expected) in [
            ("../../devices/pci0000:00/pci_bus/0000:00", "sys/devices/pci0000:00"),
            (
                "../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/00000001-a/pci2e9a:00/pci_bus/2e9a:00",
                "sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/00000001-a/pci2e9a:00",
            ),
            (
                "../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/pci_bus/10000:e0",
                "sys/devices/pci0000:00",
            ),
            (
                "../devices/platform/fd500000.pcie/pci0000:00/0000:00:02.0/virtio1/block/vda",
                "sys/devices/platform/fd500000.pcie/pci0000:00",
            ),
        ] {
            assert_eq!(bus(&target(link).unwrap()), Some(expected), "{link}");
        }
        assert_eq!(bus(&target("../../devices/virtual/net/lo").unwrap()), None);
    }

    #[test]
    fn nothing_but_devices_is_meant() {
        for link in ["/etc", "../../../etc", "../../devices/../../etc", "devices//x", "../devices"]
        {
            assert_eq!(target(link), None, "{link}");
        }
    }

    proptest! {
        #[test]
        fn any_link_is_survived(link in "(\\.\\./){0,3}(devices/)?\\PC{0,30}") {
            let path = target(&link);
            prop_assert!(path.iter().all(|path| path.starts_with("sys/devices/")));
            let is_in_it = |path: &String| bus(path).is_none_or(|bus| path.starts_with(bus));
            prop_assert!(path.iter().all(is_in_it));
        }
    }
}
