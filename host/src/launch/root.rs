//! The guest's root: opened as a detached mount, its ids mapped, attached,
//! and made the root of everything in the guest.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::sys::mount::{self as attributes, Attributes};

/// Where the root is attached before it is switched to. The directory is
/// one that every host has and every user can reach, in a mount namespace
/// that nobody else sees.
const STAGING: &str = "/etc";

/// A detached copy of the mount at the root directory. Mounts below it stay
/// the host's: a guest sees its own file system and what its configuration
/// adds.
///
/// # Errors
/// EPERM if every user of the host can reach the directory: files in it have
/// real owners on the disk, so a setuid program made inside would give its
/// runner the host's root.
pub fn open(directory: &Path) -> io::Result<OwnedFd> {
    let metadata = std::fs::metadata(directory)?;
    if !metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    if !is_closed_to_others(directory)? {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(CWD, directory, flags)?)
}

/// Does some directory on the way keep ordinary users out? Not the last one
/// itself, or a file: its permissions are the guest's to change.
pub(super) fn is_closed_to_others(directory: &Path) -> io::Result<bool> {
    /// Search permission for others (inode(7)).
    const OTHERS_SEARCH: u32 = 0o001;
    for ancestor in std::fs::canonicalize(directory)?.ancestors().skip(1) {
        if std::fs::metadata(ancestor)?.mode() & OTHERS_SEARCH == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Devices in the guest's own files never work, and with a user namespace
/// its ids are shown as that namespace has them (mount_setattr(2), "ID-mapped
/// mounts").
pub fn prepare(tree: BorrowedFd<'_>, idmap: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let wanted = Attributes {
        set: attributes::NODEV,
        propagation: libc::MS_PRIVATE,
        idmap,
        ..Attributes::default()
    };
    attributes::set_attributes(tree, false, &wanted)
}

/// Cuts all propagation between this mount namespace and the host's.
pub fn separate() -> io::Result<()> {
    let none: Option<&str> = None;
    Ok(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?)
}

/// Attaches the tree. Its descriptor is the mounted root from then on.
pub fn attach(tree: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, STAGING, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Makes the tree the root and unmounts the old one: pivot_root(2), "pivot
/// with the same directory for both", which needs no directory in the guest.
pub fn pivot(tree: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(tree.as_fd())?;
    rustix::process::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
