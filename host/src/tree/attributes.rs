//! What a file has besides its bytes: owner, permissions, times, extended
//! attributes (xattr(7)), among which are access lists and capabilities.
//!
//! What is read or set is that of a descriptor, which may be one of `O_PATH`:
//! a name can be another file's from one call to the next.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// What an open file is called for calls that take a path only. The kernel
/// goes on from the file itself, also if it is a symbolic link (proc(5)).
pub fn path_of(file: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// xfs shows access lists a second time, as they lie on its disk, with the
/// numbers of users that it has for them (fs/xfs/libxfs/xfs_da_format.h).
const LISTS_OF_XFS: &[u8] = b"trusted.SGI_ACL_";

/// A file's extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(Vec<u8>, Vec<u8>)>);

/// No list of names and no value is longer (linux/limits.h, XATTR_LIST_MAX and
/// XATTR_SIZE_MAX).
const LONGEST: usize = 65536;

impl Attributes {
    /// Reads those of a file, sorted by name.
    ///
    /// # Errors
    /// Those of listxattr(2) and getxattr(2). A file system that has none is
    /// no mistake.
    pub fn read(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        Self::read_if(file, false)
    }

    /// The same of a file that somebody may be changing: what has gone since it was named
    /// is none, and what is longer by now is read all the same.
    ///
    /// # Errors
    /// As [`Attributes::read`].
    pub fn read_moving(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        Self::read_if(file, true)
    }

    fn read_if(file: BorrowedFd<'_>, moving: bool) -> Result<Self, Errno> {
        let path = path_of(file);
        let length = match fs::listxattr_query(&path) {
            Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Self::default()),
            other => other?,
        };
        let names = filled(length, moving, |buffer| fs::listxattr(&path, buffer))?;
        let mut found = Vec::new();
        let is_own = |name: &&[u8]| !name.is_empty() && !name.starts_with(LISTS_OF_XFS);
        for name in names.split(|byte| *byte == 0).filter(is_own) {
            let key = OsStr::from_bytes(name);
            let value = fs::getxattr_query(&path, key).and_then(|length| {
                filled(length, moving, |buffer| fs::getxattr(&path, key, buffer))
            });
            match value {
                Err(Errno::NODATA) if moving => {}
                other => found.push((name.to_vec(), other?)),
            }
        }
        found.sort();
        Ok(Self(found))
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Gives each another value, or takes it away.
    pub fn change(&mut self, value: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>>) {
        let old = std::mem::take(&mut self.0);
        let new = |(name, old): (Vec<u8>, Vec<u8>)| value(&name, &old).map(|new| (name, new));
        self.0 = old.into_iter().filter_map(new).collect();
    }

    /// Gives them to a file; false if the file system has no place for one of
    /// them.
    fn write(&self, file: BorrowedFd<'_>) -> Result<bool, Errno> {
        let path = path_of(file);
        let mut all = true;
        for (key, value) in self.iter() {
            match fs::setxattr(&path, OsStr::from_bytes(key), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => all = false,
                Err(cause) => return Err(cause),
            }
        }
        Ok(all)
    }
}

/// What `read` gives of at most `length` bytes, or of any number if they may have become
/// more.
fn filled(
    length: usize,
    moving: bool,
    read: impl Fn(&mut [u8]) -> Result<usize, Errno>,
) -> Result<Vec<u8>, Errno> {
    let of = |length| {
        let mut buffer = vec![0u8; length];
        read(&mut buffer).map(|length| {
            buffer.truncate(length);
            buffer
        })
    };
    match of(length) {
        Err(Errno::RANGE) if moving => of(LONGEST),
        other => other,
    }
}

/// Gives a new file the owner, permissions, attributes and times of another;
/// false if the file system has no place for all attributes.
///
/// In this order: a change of owner takes set-user-id bits and capabilities
/// away, and an access list stands in the permissions too.
///
/// # Errors
/// Those of fchownat(2), chmod(2), setxattr(2) and utimensat(2).
pub fn give(file: impl AsFd, stat: &Stat, attributes: &Attributes) -> Result<bool, Errno> {
    let file = file.as_fd();
    let itself = AtFlags::EMPTY_PATH;
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fs::chownat(file, "", Some(user), Some(group), itself)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        fs::chmod(path_of(file), Mode::from_raw_mode(stat.st_mode))?;
    }
    let all = attributes.write(file)?;
    fs::utimensat(file, "", &times(stat), itself)?;
    Ok(all)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.try_into().unwrap_or_default(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
