//! Executes the plan's mounts, each inside the guest's root.
//!
//! The guest may have made any of these paths a link. Every one is resolved
//! by the kernel as if the guest's root were "/" (openat2(2),
//! `RESOLVE_IN_ROOT`), so none leads to the host; and without links
//! (`RESOLVE_NO_SYMLINKS`), so that two steps with the same path mean the same
//! place: a link through a directory that a later mount covers would let
//! /proc be mounted in one place and made read-only in another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, chmodat, fstat, mkdirat, openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::config::Tmpfs;
use crate::plan::{Access, Mount};
use crate::sys::mount::{self as attributes, Attributes};

use super::devices::Devices;
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

/// Makes those directories of the guest's on the way that are missing.
fn directories_above(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    path.match_indices('/').try_for_each(|(end, _)| directory(root, &path[..end], 0o755))
}

/// Opens a path inside the root, as a place only.
pub fn locate(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    Ok(openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// Puts a detached mount on a place inside the root.
pub fn attach(tree: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", place, "", flags)?)
}

/// Makes an empty file to mount something on.
pub fn file(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let (parent, name) = split(root, path)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o666))?;
    locate(root, path)
}

fn new(
    root: BorrowedFd<'_>,
    kind: &str,
    target: &str,
    options: &[(&str, &str)],
    flags: MountAttrFlags,
) -> io::Result<()> {
    let place = self::target(root, target)?;
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", kind)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    let tree = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    attach(&tree, &place)
}

fn attribute_flags(access: Access) -> MountAttrFlags {
    use MountAttrFlags as Flag;
    let nosuid = Flag::MOUNT_ATTR_NOSUID;
    nosuid
        | match access {
            Access::Data => Flag::MOUNT_ATTR_NODEV | Flag::MOUNT_ATTR_NOEXEC,
            Access::ReadOnly => {
                Flag::MOUNT_ATTR_RDONLY | Flag::MOUNT_ATTR_NODEV | Flag::MOUNT_ATTR_NOEXEC
            }
            Access::Devices => Flag::MOUNT_ATTR_NOEXEC,
            Access::Programs => Flag::MOUNT_ATTR_NODEV,
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

/// Opens a directory to mount something on, and makes it if it is missing.
fn target(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    match locate(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            directory(root, path, 0o755)?;
            locate(root, path)
        }
        other => other,
    }
}

/// Makes a directory, if it isn't there.
pub(super) fn directory(root: BorrowedFd<'_>, path: &str, mode: u32) -> io::Result<()> {
    let (parent, name) = split(root, path)?;
    match mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    // mkdir(2) takes the umask off and may ignore the sticky bit.
    Ok(chmodat(&parent, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
}

/// For [`open_tree`] on a place that has been opened.
fn clone_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH
}

/// [`locate`]; `None` for what this kernel doesn't have.
pub(super) fn locate_if_there(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<OwnedFd>> {
    match locate(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn read_only(root: BorrowedFd<'_>, target: &str, except: &[&str]) -> io::Result<()> {
    let Some(place) = locate_if_there(root, target)? else { return Ok(()) };
    let mut writable = Vec::new();
    for name in except {
        let path = format!("{target}/{name}");
        if let Some(place) = locate_if_there(root, &path)? {
            writable.push((open_tree(&place, "", clone_flags())?, path));
        }
    }
    let tree = open_tree(&place, "", clone_flags())?;
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

/// The directory that a path's last component stands in, and that component.
fn split<'a>(root: BorrowedFd<'_>, path: &'a str) -> io::Result<(OwnedFd, &'a str)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    Ok((locate(root, parent)?, name))
}
