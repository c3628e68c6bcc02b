//! mount_setattr(2), which rustix doesn't wrap yet, and what needs no path.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use super::check;

/// Attributes of a mount, as in mount_setattr(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    /// `MOUNT_ATTR_*` flags to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` flags to clear.
    pub clear: u64,
    /// `MS_PRIVATE` or `MS_SLAVE`; 0 leaves propagation alone.
    pub propagation: u64,
    /// The user namespace whose ids the mount shows.
    pub idmap: Option<BorrowedFd<'a>>,
}

/// Read-only.
pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// Set-user-ID bits have no effect.
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// Device nodes don't work.
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
/// Nothing can be executed.
pub const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// A mount for data alone.
pub const DATA: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A new file system of a kind that needs no device, mounted nowhere.
///
/// # Errors
/// Those of fsopen(2), fsconfig(2) and fsmount(2).
pub fn detached(
    kind: &str,
    options: &[(&str, &str)],
    flags: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", kind)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// A file system in memory that is mounted nowhere, with one empty file in
/// it; both, the file open for writing.
///
/// # Errors
/// Those of [`detached`] and open(2).
pub fn detached_file(name: &str) -> io::Result<(OwnedFd, File)> {
    let tree = detached("tmpfs", &[("size", "16k"), ("mode", "755")], DATA)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&tree, name, flags, Mode::from_raw_mode(0o444))?;
    Ok((tree, file.into()))
}

/// Changes the attributes of the mount behind `tree`, and with `recursive`
/// of all below it (Linux 5.12).
///
/// # Errors
/// EINVAL where the file system can't map ids; else as in mount_setattr(2).
pub fn set_attributes(
    tree: BorrowedFd<'_>,
    recursive: bool,
    attributes: &Attributes<'_>,
) -> io::Result<()> {
    let idmap = attributes.idmap.map_or(0, |_| libc::MOUNT_ATTR_IDMAP);
    let raw = libc::mount_attr {
        attr_set: attributes.set | idmap,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: attributes.idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: path and attributes live through the call, and the size is
    // that of the structure passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(&raw),
            size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}
