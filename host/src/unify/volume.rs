//! Which file system a guest's files are on, and whether it can share blocks.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

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
    pub(super) fn of(root: &RootDir) -> io::Result<Self> {
        let directory = open(root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        match extents::btrfs_id(directory.as_fd()) {
            Ok(id) => Ok(Self::Btrfs(id)),
            Err(_) => Ok(Self::Other(fs::fstat(&directory)?.st_dev)),
        }
    }
}

/// Tries it, with two files that never have a name. What is still on its way to
/// the disk has a place there afterwards: each file would be waited for, else.
pub(super) fn can_share(root: &RootDir) -> io::Result<bool> {
    const LENGTH: usize = 4096;
    fs::syncfs(open(root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?)?;
    let make = || -> io::Result<OwnedFd> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL;
        let file = open(root, flags, Mode::RUSR | Mode::WUSR)?;
        io::Write::write_all(&mut File::from(file.try_clone()?), &[1; LENGTH])?;
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
            _ => Err(cause),
        },
    }
}

fn open(root: &RootDir, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    Ok(fs::openat(root, ".", flags | OFlags::CLOEXEC, mode)?)
}
