//! mount_setattr(2), which rustix doesn't wrap yet.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

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
