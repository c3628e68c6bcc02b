//! From when on every change of a file can be seen at its time of change, the
//! ctime of inode(7), which no program can set.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FsWord, Mode, OFlags, fstatfs, openat, syncfs};
use rustix::io::Errno;

/// What the time of change of an ext4 with small inodes is rounded down to, and
/// the kernel's clock for it, which is late by up to a tick (10 ms), in seconds.
const COARSENESS: i64 = 2;

/// File systems of the disk that set the time of change when a page that is
/// clean is written to through mmap(2), and make pages clean when they are
/// written to the disk (their `page_mkwrite`): ext2 to ext4, xfs, btrfs
/// (statfs(2)). A tmpfs, for example, never does.
const HONEST: [FsWord; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// A moment such that whoever reads a file after it, and finds its time of
/// change the same and older when it is at rest, has read what it holds then.
///
/// Two kinds of writes come later than the time that they set, and are those
/// that rsync(1), which goes by times as well, may miss. Whoever calls makes an
/// end of both in between [`Calm::begin`] and [`Calm::settle`]:
///
/// - A call that was under way. The caller lets all processes stand still for a
///   moment, which they do at the end of their calls only.
/// - Through mmap(2) the time is set only when a clean page is written to first.
///   [`Calm::settle`] makes all pages clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calm(i64);

impl Calm {
    /// Can changes be told on the file system of this directory?
    ///
    /// # Errors
    /// Those of fstatfs(2).
    pub fn can_be(directory: impl AsFd) -> Result<bool, Errno> {
        Ok(HONEST.contains(&(fstatfs(directory)?.f_type & 0xffff_ffff)))
    }

    /// From now on.
    pub fn begin() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(now.as_secs()).unwrap_or(i64::MAX) - COARSENESS)
    }

    /// Makes all pages of a directory's file system clean.
    ///
    /// # Errors
    /// Those of syncfs(2).
    pub fn settle(self, directory: BorrowedFd<'_>) -> Result<Self, Errno> {
        // One of O_PATH won't do.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        syncfs(openat(directory, ".", flags, Mode::empty())?)?;
        Ok(self)
    }

    /// Is a time of change (seconds, nanoseconds) from before? One from
    /// thereafter can be that of a change that is still going on.
    pub fn is_older(self, changed: (i64, u64)) -> bool {
        changed.0 < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_made_just_now_is_not_older() {
        let directory = tempfile::tempdir().unwrap();
        let opened = File::open(directory.path()).unwrap();
        let calm = Calm::begin().settle(opened.as_fd()).unwrap();
        fs::write(directory.path().join("new"), "x").unwrap();
        let made = fs::metadata(directory.path().join("new")).unwrap();
        assert!(!calm.is_older((made.ctime(), made.ctime_nsec().cast_unsigned())));
        assert!(calm.is_older((made.ctime() - 10, 0)));
    }

    #[test]
    fn memory_is_not_honest() {
        let shm = File::open("/dev/shm").ok();
        assert!(shm.is_none_or(|shm| Calm::can_be(shm) == Ok(false)));
        assert_eq!(Calm::can_be(File::open("/proc").unwrap()), Ok(false));
    }
}
