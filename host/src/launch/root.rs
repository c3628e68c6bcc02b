//! The guest's root: the ids of its detached mounts mapped, put together if
//! there are several, attached, and made the root of everything in the guest.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{CWD, Mode, mkdirat};
use rustix::mount::{MountAttrFlags, MoveMountFlags, move_mount};

use crate::storage::{Tree, merge_at};
use crate::sys::mount::{self as attributes, Attributes, detached};

/// Where the root is attached before it is switched to. The directory is
/// one that every host has and every user can reach, in a mount namespace
/// that nobody else sees.
const STAGING: &str = "/etc";

/// Devices in the guest's own files never work, and with a user namespace
/// its ids are shown as that namespace has them (mount_setattr(2), "ID-mapped
/// mounts").
pub fn prepare(tree: &Tree, idmap: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let wanted = Attributes {
        set: attributes::NODEV,
        propagation: libc::MS_PRIVATE,
        idmap,
        ..Attributes::default()
    };
    tree.mounts().try_for_each(|mount| attributes::set_attributes(mount, false, &wanted))
}

/// Cuts all propagation between this mount namespace and the host's.
pub fn separate() -> io::Result<()> {
    let none: Option<&str> = None;
    Ok(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?)
}

/// Attaches the tree; the mounted root. Layers are put together here, because
/// mapped ones can be only in the user namespace that they are mapped to, and
/// only while they are attached.
pub fn attach(tree: &Tree) -> io::Result<OwnedFd> {
    match tree {
        Tree::Whole(whole) => {
            move_mount(whole, "", CWD, STAGING, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            Ok(whole.try_clone()?)
        }
        Tree::Layers { lower, upper } => {
            let merged = merge(lower, upper)?;
            move_mount(&merged, "", CWD, STAGING, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            Ok(merged)
        }
    }
}

/// The layers keep their mounts: what they were attached to goes again.
fn merge(lower: &[OwnedFd], upper: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID;
    let places = detached("tmpfs", &[("size", "16k")], flags)?;
    move_mount(&places, "", CWD, STAGING, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let attach = |layer: &OwnedFd, name: &str| -> io::Result<String> {
        mkdirat(&places, name, Mode::RWXU)?;
        move_mount(layer, "", &places, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(format!("{STAGING}/{name}"))
    };
    let numbered = lower.iter().enumerate();
    let lower: Vec<String> = numbered
        .map(|(number, layer)| attach(layer, &format!("base{number}")))
        .collect::<io::Result<_>>()?;
    let merged = merge_at(&lower, &attach(upper, "own")?)?;
    umount2(STAGING, MntFlags::MNT_DETACH)?;
    Ok(merged)
}

/// Makes the tree the root and unmounts the old one: pivot_root(2), "pivot
/// with the same directory for both", which needs no directory in the guest.
pub fn pivot(tree: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(tree.as_fd())?;
    rustix::process::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
