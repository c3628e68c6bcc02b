//! Covers what has the registers and the memory of devices as files, which the
//! host's uid 0 may read and map: all of /sys/devices, since a bus may lie
//! anywhere in it and come at any time. The kernel's own parts are shown again,
//! and so are the interfaces and disks that are there, or links in
//! /sys/class/net and /sys/block would lead nowhere.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;

use crate::plan::masks::REGISTERS;
use crate::sys::mount::{self as attributes, Attributes, DATA, detached};

use super::places::{attach, directory, locate_if_there, show};

/// Where no bus is: processors and memory, and what is made by software alone.
const OWN: [&str; 2] = ["sys/devices/system", "sys/devices/virtual"];

/// Links to what is shown besides.
const SHOWN: [&str; 2] = ["sys/class/net", "sys/block"];

/// An empty directory on top, but for what is shown below it.
///
/// # Errors
/// Those of mounting.
pub fn hide(root: BorrowedFd<'_>) -> io::Result<()> {
    let Some(place) = locate_if_there(root, REGISTERS.target)? else { return Ok(()) };
    let mut shown = OWN.map(str::to_owned).to_vec();
    for links in SHOWN {
        shown.extend(targets(root, links)?.into_iter().filter(|path| !is_own(path)));
    }
    let mut trees = Vec::new();
    for path in &shown {
        // It may have been taken out meanwhile.
        if let Some(found) = locate_if_there(root, path)? {
            trees.push((path, show(&found)?));
        }
    }
    let cover = detached("tmpfs", &[("mode", "0555"), ("size", "4k")], DATA)?;
    attach(&cover, &place)?;
    for (path, tree) in trees {
        let above = path.match_indices('/').map(|(end, _)| &path[..end]);
        let above = above.filter(|above| above.len() > REGISTERS.target.len());
        for made in above.chain([path.as_str()]) {
            directory(root, made, 0o555)?;
        }
        if let Some(place) = locate_if_there(root, path)? {
            attach(&tree, &place)?;
        }
    }
    let wanted = Attributes { set: attributes::RDONLY, ..Attributes::default() };
    attributes::set_attributes(cover.as_fd(), false, &wanted)
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

/// Is it below what is shown anyway?
fn is_own(path: &str) -> bool {
    let rest = OWN.iter().find_map(|own| path.strip_prefix(own));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_lies_on_a_bus_is_shown_by_itself() {
        for (link, expected) in [
            ("../devices/pci0000:00/0000:00:02.0/virtio1/block/vda", false),
            (
                "../../devices/LNXSYSTM:00/ACPI0004:00/VMBUS:00/a/pci2e9a:00/2e9a:00:02.0/net/eth0",
                false,
            ),
            ("../../devices/virtual/net/lo", true),
            ("../devices/virtually/block/x", false),
        ] {
            assert_eq!(is_own(&target(link).unwrap()), expected, "{link}");
        }
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
            prop_assert!(target(&link).iter().all(|path| path.starts_with("sys/devices/")));
        }
    }
}
