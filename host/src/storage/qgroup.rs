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
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, XattrFlags, fgetxattr, fremovexattr, fsetxattr, openat};
use rustix::io::Errno;
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
    match bytes {
        Some(bytes) => hold(root, directory, bytes),
        None if is_marked(directory) => release(root, directory),
        None => Ok(()),
    }
}

/// The mark comes before the limit: a subvolume that is full takes none, and no
/// limit of ours shall be there without it.
fn hold(root: &Path, directory: &File, bytes: u64) -> Result<()> {
    check(root, directory)?;
    let before = if is_marked(directory) { None } else { Some(mark(root, directory)?) };
    set(directory, Some(bytes)).map_err(|cause| {
        if let Some(before) = before {
            let _ = fremovexattr(directory, MARK);
            before.put_back(directory);
        }
        refused(root, directory, &cause)
    })
}

/// The limit that somebody else had set, if it had to be lifted.
struct Before(Option<u64>);

impl Before {
    fn put_back(&self, directory: &File) {
        if self.0.is_some() {
            let _ = set(directory, self.0);
        }
    }
}

fn mark(root: &Path, directory: &File) -> Result<Before> {
    let write = || fsetxattr(directory, MARK, b"1", XattrFlags::empty());
    let failed = |cause: Errno| Error::path("mark", root, cause);
    match write() {
        Ok(()) => return Ok(Before(None)),
        Err(Errno::DQUOT) => {}
        Err(cause) => return Err(failed(cause)),
    }
    let theirs = limited(directory).map(|it| it.limit).filter(|limit| *limit > 0);
    let before = Before(theirs);
    set(directory, None).map_err(|cause| refused(root, directory, &cause))?;
    write().map_err(|cause| {
        before.put_back(directory);
        failed(cause)
    })?;
    Ok(before)
}

/// Where there are no quotas any more, or no such group, there is no limit.
fn release(root: &Path, directory: &File) -> Result<()> {
    if let Err(cause) = set(directory, None) {
        let is_gone =
            matches!(cause.raw_os_error(), Some(libc::ENOTCONN | libc::ENOENT | libc::ENOTTY));
        if !is_gone {
            return Err(refused(root, directory, &cause));
        }
    }
    match fremovexattr(directory, MARK) {
        Ok(()) | Err(Errno::NODATA) => Ok(()),
        Err(cause) => Err(Error::path("unmark", root, cause)),
    }
}

/// By the directory above: the kernel takes no order by way of a subvolume that
/// has more than its limit, not even the one to lift it.
fn set(directory: &File, bytes: Option<u64>) -> io::Result<()> {
    let subvolume = qgroup::subvolume(directory.as_fd())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = openat(directory, "..", flags, Mode::empty());
    let above = above.ok().filter(|above| is_same(above.as_fd(), directory.as_fd()));
    let on = above.as_ref().map_or(directory.as_fd(), |above| above.as_fd());
    qgroup::limit(on, subvolume, bytes)
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let ids = (extents::btrfs_id(one), extents::btrfs_id(other));
    matches!(ids, (Ok(one), Ok(other)) if one == other)
}

fn refused(root: &Path, directory: &File, cause: &io::Error) -> Error {
    match cause.raw_os_error() {
        Some(libc::ENOTCONN) => lack(root, "its btrfs keeps no quotas")
            .hint(format!("btrfs quota enable {}", root.parent().unwrap_or(root).display())),
        Some(libc::ENOENT) => lack(root, "its btrfs has no quota group of it").hint(format!(
            "btrfs qgroup create 0/{} {}",
            qgroup::subvolume(directory.as_fd()).unwrap_or_default(),
            root.display()
        )),
        _ => lack(root, &cause.to_string()),
    }
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
    Some(Quota { limit, used: read("referenced")?, inodes: None })
}
