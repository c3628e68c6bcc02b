//! What a file has besides its bytes: owner, permissions, times, extended
//! attributes (xattr(7)), among which are access lists and capabilities.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// What a name in a directory is called for calls that take a path only; it is
/// found in that directory, and not followed.
fn path_of(parent: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    let directory = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
    // The directory itself: with a name, or the link in /proc would be meant.
    directory.join(if name.is_empty() { OsStr::new(".") } else { name })
}

/// A file's extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(Vec<u8>, Vec<u8>)>);

impl Attributes {
    /// Reads those of a name in a directory, sorted by name.
    ///
    /// # Errors
    /// Those of llistxattr(2) and lgetxattr(2). A file system that has none is
    /// no mistake.
    pub fn read(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Self, Errno> {
        let path = path_of(parent, name);
        let mut names = Vec::new();
        let length = match fs::llistxattr_query(&path) {
            Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Self::default()),
            other => other?,
        };
        names.resize(length, 0u8);
        let length = fs::llistxattr(&path, names.as_mut_slice())?;
        let names = names.get(..length).unwrap_or_default();
        let mut found = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let key = OsStr::from_bytes(name);
            let mut value = vec![0u8; fs::lgetxattr_query(&path, key)?];
            let length = fs::lgetxattr(&path, key, value.as_mut_slice())?;
            value.truncate(length);
            found.push((name.to_vec(), value));
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

    /// Gives them to a name in a directory; false if the file system has no
    /// place for one of them.
    fn write(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Errno> {
        let path = path_of(parent, name);
        let mut all = true;
        for (key, value) in self.iter() {
            match fs::lsetxattr(&path, OsStr::from_bytes(key), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => all = false,
                Err(cause) => return Err(cause),
            }
        }
        Ok(all)
    }
}

/// Gives a new file the owner, permissions, attributes and times of another;
/// false if the file system has no place for all attributes.
///
/// In this order: a change of owner takes set-user-id bits and capabilities
/// away, and an access list stands in the permissions too.
///
/// # Errors
/// Those of fchownat(2), fchmodat(2), lsetxattr(2) and utimensat(2).
pub fn give(
    parent: impl AsFd,
    name: &OsStr,
    stat: &Stat,
    attributes: &Attributes,
) -> Result<bool, Errno> {
    let parent = parent.as_fd();
    let here = if name.is_empty() { OsStr::new(".") } else { name };
    let no_follow = AtFlags::SYMLINK_NOFOLLOW;
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fs::chownat(parent, here, Some(user), Some(group), no_follow)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        fs::chmodat(parent, here, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
    }
    let all = attributes.write(parent, name)?;
    fs::utimensat(parent, here, &times(stat), no_follow)?;
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
