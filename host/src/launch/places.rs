//! Places inside the guest's root, where something is mounted.
//!
//! The guest may have made any of these paths a link. Every one is resolved
//! by the kernel as if the guest's root were "/" (openat2(2),
//! `RESOLVE_IN_ROOT`), so none leads to the host; and without links
//! (`RESOLVE_NO_SYMLINKS`), so that two steps with the same path mean the same
//! place: a link through a directory that a later mount covers would let
//! /proc be mounted in one place and made read-only in another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::fsroot::make_directory;

/// Opens a path inside the root, as a place only.
pub fn locate(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    Ok(openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// [`locate`]; `None` for what this kernel doesn't have.
pub fn locate_if_there(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<OwnedFd>> {
    match locate(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Opens a directory to mount something on, and makes it if it is missing.
pub fn target(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    match locate(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            directory(root, path, 0o755)?;
            locate(root, path)
        }
        other => other,
    }
}

/// Makes a directory, if it isn't there.
pub fn directory(root: BorrowedFd<'_>, path: &str, mode: u32) -> io::Result<()> {
    let (parent, name) = split(root, path)?;
    // The host's names still lead somewhere, and another guest may write there.
    match make_directory(parent.as_fd(), name, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

/// Makes those directories of the guest's on the way that are missing.
pub fn directories_above(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    path.match_indices('/').try_for_each(|(end, _)| directory(root, &path[..end], 0o755))
}

/// Makes an empty file to mount something on.
pub fn file(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let (parent, name) = split(root, path)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o666))?;
    locate(root, path)
}

/// The directory that a path's last component stands in, and that component.
pub fn split<'a>(root: BorrowedFd<'_>, path: &'a str) -> io::Result<(OwnedFd, &'a str)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    Ok((locate(root, parent)?, name))
}

/// Puts a detached mount on a place inside the root.
pub fn attach(tree: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", place, "", flags)?)
}

/// What is at a place, once more, to be shown at another one as well.
pub fn show(place: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(place, "", flags)?)
}
