//! From when on every change of a file can be seen at its time of change, the
//! ctime of inode(7), which no program can set.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FsWord, Mode, OFlags, fstatfs, openat, syncfs};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

/// What the time of change of an ext4 with small inodes is rounded down to, and
/// the kernel's clock for it, which is late by up to a tick (10 ms).
const COARSENESS: Duration = Duration::from_secs(2);

/// File systems of the disk that set the time of change when a page that is
/// clean is written to through mmap(2), and make pages clean when they are
/// written to the disk (their `page_mkwrite`): ext2 to ext4, xfs, btrfs
/// (statfs(2)). A tmpfs, for example, never does.
const HONEST: [FsWord; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// A moment, such that a file whose time of change was older when it was read
/// later on, and is the same in the end, is in the end what was read.
///
/// Two kinds of writes come later than the time that they set, and may be
/// missed by rsync(1), which goes by times as well. Whoever calls makes an end of
/// those that were under way before, between [`Calm::begin`] and the first file;
/// later ones set a time that isn't older.
///
/// - A call sets the time first and writes then, for as long as it takes. The
///   caller lets all processes stand still for a moment, which they do only
///   when their calls are done.
/// - Through mmap(2) the time is set only when a clean page is written to first.
///   [`Calm::settle`], afterwards, makes all pages clean.
///
/// What a disk has been given directly (`O_DIRECT`), it is taken to have written
/// after two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calm {
    /// Seconds and nanoseconds.
    since: (i64, u64),
    /// What the clock of the day showed when the host had run for no time.
    zero: Duration,
}

/// What the clock of the day may be set back by: less than what is subtracted.
const SLACK: Duration = Duration::from_millis(500);

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
        let since = now.saturating_sub(COARSENESS);
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self { since: (seconds, since.subsec_nanos().into()), zero: zero() }
    }

    /// Has the clock of the day been set back since? Then a file that has just been
    /// changed may look older.
    pub fn is_broken(self) -> bool {
        zero() + SLACK < self.zero
    }

    /// From this time of change on, for tests whose files are young.
    #[cfg(test)]
    pub(crate) fn since(since: (i64, u64)) -> Self {
        Self { since, zero: zero() }
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
        changed < self.since
    }
}

fn zero() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let up = clock_gettime(ClockId::Boottime);
    let up = Duration::new(up.tv_sec.unsigned_abs(), up.tv_nsec.try_into().unwrap_or(0));
    now.saturating_sub(up)
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
        assert!(!calm.is_broken());
        assert!(Calm { zero: calm.zero + Duration::from_secs(1), ..calm }.is_broken());
    }

    #[test]
    fn memory_is_not_honest() {
        let shm = File::open("/dev/shm").ok();
        assert!(shm.is_none_or(|shm| Calm::can_be(shm) == Ok(false)));
        assert_eq!(Calm::can_be(File::open("/proc").unwrap()), Ok(false));
    }
}
