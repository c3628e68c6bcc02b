//! How much of a btrfs a guest's files may take: by the quota group that each
//! subvolume has, where the file system keeps those (btrfs-quota(8)).
//!
//! What a subvolume refers to is counted, shared with others or not: a clone has
//! all of its files to its account from the beginning, and a snapshot that the
//! host makes counts for nobody. Guests can make no subvolumes (`seccomp`), so
//! nothing that they write is elsewhere. Numbers that the kernel keeps of single
//! subvolumes are right at any time; those of groups of groups would have to be
//! counted anew, all over the file system, with every clone.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::sys::quota::Quota;
use crate::sys::{block, extents, qgroup};

/// Of a subvolume's root directory (btrfs(5), "Inode").
const SUBVOLUME: u64 = 256;

/// Says, where no guest can say so, that a limit is ours.
const MARK: &str = "trusted.vserver.qgroup";

/// Is a directory on a btrfs?
pub(super) fn is_btrfs(directory: &File) -> bool {
    extents::btrfs_id(directory.as_fd()).is_ok()
}

/// Limits what is below a directory, or takes our limit away.
///
/// # Errors
/// When it is no subvolume or has others in it; when the file system keeps no
/// quotas.
pub(super) fn limit(root: &Path, directory: &File, bytes: Option<u64>) -> Result<()> {
    if bytes.is_none() && !is_marked(directory) {
        return Ok(());
    }
    if bytes.is_some() {
        check(root, directory)?;
    }
    qgroup::limit(directory.as_fd(), bytes).map_err(|cause| match cause.raw_os_error() {
        Some(libc::ENOTCONN) => lack(root, "its btrfs keeps no quotas")
            .hint(format!("btrfs quota enable {}", root.parent().unwrap_or(root).display())),
        Some(libc::ENOENT) => lack(root, "its btrfs has no quota group of it").hint(format!(
            "btrfs qgroup create 0/{} {}",
            qgroup::subvolume(directory.as_fd()).unwrap_or_default(),
            root.display()
        )),
        _ => lack(root, &cause.to_string()),
    })?;
    let marked = match bytes {
        Some(_) => fsetxattr(directory, MARK, b"1", XattrFlags::empty()),
        None => fremovexattr(directory, MARK),
    };
    marked.map_err(|cause| Error::path("mark", root, cause))
}

fn is_marked(directory: &File) -> bool {
    fgetxattr(directory, MARK, &mut [0; 16]).is_ok()
}

fn check(root: &Path, directory: &File) -> Result<()> {
    let failed = |cause: io::Error| Error::path("examine", root, cause);
    if directory.metadata().map_err(failed)?.ino() != SUBVOLUME {
        return Err(lack(root, "it is a directory of btrfs, and no subvolume")
            .hint("a copy is one: vserver clone NAME NEW"));
    }
    if block::holds_subvolumes(directory.as_fd()).map_err(failed)? {
        return Err(lack(root, "other subvolumes are in it, and would not be counted")
            .hint("in a copy they are directories: vserver clone NAME NEW"));
    }
    Ok(())
}

fn lack(root: &Path, why: &str) -> Error {
    Error::new(format!("limits.disk can't be enforced on '{}': {why}", root.display()))
}

/// How a subvolume is limited, and what it takes; `None` where that isn't
/// counted.
pub(super) fn limited(directory: &File) -> Option<Quota> {
    if directory.metadata().ok()?.ino() != SUBVOLUME {
        return None;
    }
    let id = Uuid::from_bytes(extents::btrfs_id(directory.as_fd()).ok()?);
    let number = qgroup::subvolume(directory.as_fd()).ok()?;
    // Documentation/ABI/testing/sysfs-fs-btrfs doesn't know them, but they are
    // there since Linux 5.9 (fs/btrfs/sysfs.c, `qgroup_attrs`).
    let group = PathBuf::from(format!("/sys/fs/btrfs/{id}/qgroups/0_{number}"));
    let read = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let is_limited = read("limit_flags")? & 1 != 0;
    let limit = if is_limited { read("max_referenced")? } else { 0 };
    Some(Quota { limit, used: read("referenced")? })
}
