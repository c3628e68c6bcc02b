//! The cgroup of a chbind: `chbind-PID` below that of its caller.
//!
//! Whoever makes one holds flock(2) on it, and so does its watcher. One that
//! isn't locked has lost its watcher, and is removed by whoever comes next.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cgroup;

/// What their names begin with.
const PREFIX: &str = "chbind-";

/// A cgroup that has just been made.
#[derive(Debug)]
pub struct Place {
    directory: PathBuf,
    /// Keeps it locked.
    lock: File,
}

impl Place {
    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes it, once no process is in it or below.
    ///
    /// # Errors
    /// EBUSY as long as there is one.
    pub fn remove(&self) -> io::Result<()> {
        cgroup::remove_empty(&self.directory)
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

/// Makes one below this cgroup, and removes those that nobody else will.
///
/// # Errors
/// Those of mkdir(2).
pub fn make(parent: &Path) -> io::Result<Place> {
    sweep(parent);
    for number in 0_u32.. {
        let name = match number {
            0 => format!("{PREFIX}{}", std::process::id()),
            _ => format!("{PREFIX}{}.{number}", std::process::id()),
        };
        let directory = parent.join(name);
        match fs::create_dir(&directory) {
            Ok(()) => {}
            // Another PID namespace has the same pid.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        match lock(&directory) {
            Ok(Some(lock)) => return Ok(Place { directory, lock }),
            // A sweeper was here before it was locked.
            Ok(None) => {}
            Err(error) => {
                let _ = fs::remove_dir(&directory);
                return Err(error);
            }
        }
    }
    Err(io::Error::from_raw_os_error(libc::EEXIST))
}

/// Locks a cgroup; `None` if somebody else has, or has removed it.
fn lock(directory: &Path) -> io::Result<Option<File>> {
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    };
    let file = match File::open(directory) {
        Ok(file) => file,
        Err(error) => return missing(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    match fs::metadata(directory) {
        Ok(found) if found.ino() == file.metadata()?.ino() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) => missing(error),
    }
}

fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().filter_map(io::Result::ok) {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && let Ok(Some(_lock)) = lock(&entry.path())
        {
            // One with processes stays.
            let _ = cgroup::remove_empty(&entry.path());
        }
    }
}
