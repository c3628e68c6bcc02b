//! Which file system a guest's files are on, and whether it can share blocks.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags};

use crate::fsroot::RootDir;
use crate::sys::extents::{self, Deduped};

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Volume {
    /// Each subvolume of a btrfs has a device number of its own, and all of
    /// them have this.
    Btrfs([u8; 16]),
    /// Any other, by its device number.
    Other(u64),
}

impl Volume {
    /// The one that a directory is on.
    pub(super) fn of(directory: BorrowedFd<'_>) -> io::Result<Self> {
        match extents::btrfs_id(directory) {
            Ok(id) => Ok(Self::Btrfs(id)),
            Err(_) => Ok(Self::Other(fs::fstat(directory)?.st_dev)),
        }
    }
}

/// A file system, and what is known of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) volume: Volume,
    pub(super) can_share: bool,
    /// A directory on it that no guest has, nor a limit of one.
    pub(super) above: Option<OwnedFd>,
}

impl Known {
    /// Must blocks be the host's before guests share them? A piece of a file
    /// of btrfs keeps all of the extent that it is a part of (btrfs(5),
    /// "Bookend extents"): whoever gets it has the rest to its account as well,
    /// and nothing shows how much that is.
    pub(super) fn needs_own(&self) -> bool {
        matches!(self.volume, Volume::Btrfs(_))
    }
}

/// A directory.
pub(super) fn directory(root: &RootDir) -> io::Result<OwnedFd> {
    open(root.as_fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// The directory that a root lies in, if it is on this file system. Nobody in
/// the guest can move its root.
pub(super) fn above(root: &RootDir, volume: Volume) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let above = open(root.as_fd(), "..", flags, Mode::empty()).ok()?;
    let is_there = Volume::of(above.as_fd()).is_ok_and(|of| of == volume);
    is_there.then_some(above)
}

/// A new file that never has a name.
///
/// # Errors
/// Those of open(2) with `O_TMPFILE`.
pub(super) fn unnamed(directory: BorrowedFd<'_>) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL;
    Ok(File::from(open(directory, ".", flags, Mode::RUSR | Mode::WUSR)?))
}

/// Tries it, with two unnamed files. What is still on its way to the disk has a
/// place there afterwards: each file would be waited for, else.
pub(super) fn can_share(directory: BorrowedFd<'_>) -> io::Result<bool> {
    const LENGTH: usize = 4096;
    fs::syncfs(directory)?;
    let make = || -> io::Result<File> {
        let mut file = unnamed(directory)?;
        file.write_all(&[1; LENGTH])?;
        Ok(file)
    };
    let attempt = || {
        let (one, other) = (make()?, make()?);
        extents::dedupe(one.as_fd(), other.as_fd(), 0, LENGTH as u64)
    };
    match attempt() {
        Ok(Deduped::Bytes(bytes)) => Ok(bytes > 0),
        Ok(Deduped::Differs) => Ok(false),
        Err(cause) => match cause.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::EINVAL | libc::ENOSYS | libc::EXDEV) => {
                Ok(false)
            }
            // Nothing can be tried where nothing can be written. Each file will
            // tell.
            Some(libc::EDQUOT | libc::ENOSPC | libc::EROFS) => Ok(true),
            _ => Err(cause),
        },
    }
}

/// The bytes of a file system that are in use; of the guest's project alone,
/// where it has a limit.
pub(super) fn used(directory: BorrowedFd<'_>) -> io::Result<u64> {
    let found = fs::fstatvfs(directory)?;
    Ok(found.f_blocks.saturating_sub(found.f_bfree).saturating_mul(found.f_frsize))
}

fn open(at: BorrowedFd<'_>, name: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    Ok(fs::openat(at, name, flags | OFlags::CLOEXEC, mode)?)
}
