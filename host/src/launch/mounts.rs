//! Executes the plan's mounts, each at a place inside the guest's root
//! (`places`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, fstat, symlinkat};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use crate::config::Tmpfs;
use crate::plan::{Access, Mount};
use crate::sys::mount::{self as attributes, Attributes, DATA, detached};

use super::devices::Devices;
use super::places::{
    attach, directories_above, directory, file, locate, locate_if_there, show, split, target,
};
use super::{binds, registers, systemd};

/// Executes one step below the root behind `root`. `devices` is the /dev that
/// the host has made, `binds` what it has opened of its own.
pub fn execute(
    root: BorrowedFd<'_>,
    step: &Mount,
    devices: &Devices,
    binds: &[Option<OwnedFd>],
) -> io::Result<()> {
    match step {
        Mount::New { kind, target, options, access } => {
            new(root, kind, target, options, attribute_flags(*access))
        }
        Mount::Devices => own_devices(root, devices),
        Mount::HostSys => match &devices.sys {
            Some(tree) => attach(tree, &target(root, "sys")?),
            None => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        },
        Mount::Tmp if systemd::wants_tmp(root) => {
            let options = [("mode", "1777"), ("size", "20%"), ("nr_inodes", "1m")];
            new(root, "tmpfs", "tmp", &options, attribute_flags(Access::Programs))
        }
        Mount::Tmp => Ok(()),
        Mount::Bind { number, target } => match binds.get(*number) {
            Some(Some(tree)) => bind(root, tree, target),
            // It may be missing.
            Some(None) => Ok(()),
            None => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        },
        Mount::Memory(tmpfs) => memory(root, tmpfs),
        Mount::Link { at, to } => {
            let (parent, name) = split(root, at)?;
            Ok(symlinkat(*to, &parent, name)?)
        }
        Mount::Directory { at, mode } => directory(root, at, *mode),
        Mount::ReadOnly { target, except } => read_only(root, target, except),
        Mount::Hidden(target) => hide(root, target),
        Mount::HiddenRegisters => registers::hide(root),
    }
}

/// Puts a directory or file of the host's on a place, which is made if need be.
fn bind(root: BorrowedFd<'_>, tree: &OwnedFd, path: &str) -> io::Result<()> {
    directories_above(root, path)?;
    let place = if binds::is_directory(tree)? {
        target(root, path)?
    } else {
        match file(root, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => locate(root, path)?,
            other => other?,
        }
    };
    attach(tree, &place)
}

fn memory(root: BorrowedFd<'_>, tmpfs: &Tmpfs) -> io::Result<()> {
    directories_above(root, &tmpfs.target)?;
    let mut flags = attribute_flags(Access::Programs);
    if tmpfs.no_exec {
        flags |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    let options = [("size", tmpfs.size.as_str()), ("mode", tmpfs.mode.as_str())];
    new(root, "tmpfs", &tmpfs.target, &options, flags)
}

fn new(
    root: BorrowedFd<'_>,
    kind: &str,
    target: &str,
    options: &[(&str, &str)],
    flags: MountAttrFlags,
) -> io::Result<()> {
    let place = self::target(root, target)?;
    attach(&detached(kind, options, flags)?, &place)
}

fn attribute_flags(access: Access) -> MountAttrFlags {
    use MountAttrFlags as Flag;
    match access {
        Access::Data => DATA,
        Access::ReadOnly => DATA | Flag::MOUNT_ATTR_RDONLY,
        Access::Devices => Flag::MOUNT_ATTR_NOSUID | Flag::MOUNT_ATTR_NOEXEC,
        Access::Programs => Flag::MOUNT_ATTR_NOSUID | Flag::MOUNT_ATTR_NODEV,
    }
}

fn own_devices(root: BorrowedFd<'_>, devices: &Devices) -> io::Result<()> {
    attach(&devices.tree, &target(root, "dev")?)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    for name in &devices.borrowed {
        let node = open_tree(CWD, Path::new("/dev").join(name), flags)?;
        attach(&node, &locate(root, &format!("dev/{name}"))?)?;
    }
    Ok(())
}

fn read_only(root: BorrowedFd<'_>, target: &str, except: &[&str]) -> io::Result<()> {
    let Some(place) = locate_if_there(root, target)? else { return Ok(()) };
    let mut writable = Vec::new();
    for name in except {
        let path = format!("{target}/{name}");
        if let Some(place) = locate_if_there(root, &path)? {
            writable.push((show(&place)?, path));
        }
    }
    let tree = show(&place)?;
    let wanted = Attributes { set: attributes::RDONLY, ..Attributes::default() };
    attributes::set_attributes(tree.as_fd(), false, &wanted)?;
    attach(&tree, &place)?;
    for (tree, path) in &writable {
        attach(tree, &locate(root, path)?)?;
    }
    Ok(())
}

/// Covers a directory with an empty one, and a file with a device node on a
/// mount where devices don't work: opening that is refused to everybody, also
/// to a root with CAP_DAC_OVERRIDE (mount(2), `MS_NODEV`).
fn hide(root: BorrowedFd<'_>, target: &str) -> io::Result<()> {
    let Some(place) = locate_if_there(root, target)? else { return Ok(()) };
    if FileType::from_raw_mode(fstat(&place)?.st_mode).is_dir() {
        let options = [("mode", "0000"), ("size", "4k"), ("nr_inodes", "1")];
        return new(root, "tmpfs", target, &options, attribute_flags(Access::ReadOnly));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, "/dev/null", flags)?;
    let wanted = Attributes {
        set: attributes::RDONLY | attributes::NODEV | attributes::NOSUID,
        ..Attributes::default()
    };
    attributes::set_attributes(tree.as_fd(), false, &wanted)?;
    attach(&tree, &place)
}
