//! Locks: files on which flock(2) is held. They vanish with their holder.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, major, minor};
use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::tree::Check;

/// After so long it is said what a command waits for.
const UNSAID: Duration = Duration::from_secs(3);

/// The first pause between two tries, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// A lock that is held until it is dropped. Its descriptor is close-on-exec.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, waiting for another holder to finish.
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn wait(path: &Path) -> Result<Self> {
        loop {
            let file = open(path)?;
            flock(file.as_fd(), FlockOperation::LockExclusive)
                .map_err(|error| Error::path("lock", path, error))?;
            let lock = Self { file };
            // The last holder may have removed the file.
            if lock.is_at(path) {
                return Ok(lock);
            }
        }
    }

    /// Takes a guest's own lock: waits until no other command works on it; none does while
    /// the lock is held. `check` is asked while there is something to wait for, and `say`
    /// is given the sentence for the user when that takes long.
    ///
    /// # Errors
    /// When the file can't be made, and what `check` says.
    pub fn take_turn(
        paths: &Paths,
        name: &GuestName,
        check: Check<'_>,
        say: &dyn Fn(String),
    ) -> Result<Self> {
        let path = paths.lock(name);
        let start = Instant::now();
        let (mut pause, mut is_said) = (PAUSES[0], false);
        loop {
            match Self::try_now(&path)? {
                Some(lock) if lock.is_at(&path) => return Ok(lock),
                // Its last holder has removed the file.
                Some(_) => continue,
                None => check()?,
            }
            if !is_said && start.elapsed() >= UNSAID {
                is_said = true;
                let holder = holder(&path).map(|pid| format!(": process {pid}"));
                say(format!(
                    "waiting for another command that is at work with guest '{name}'{}",
                    holder.unwrap_or_default()
                ));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Takes the lock, waiting for so long at most; `None` if somebody holds it all that time.
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn wait_until(path: &Path, deadline: Instant) -> Result<Option<Self>> {
        const PAUSE: Duration = Duration::from_millis(20);
        loop {
            match Self::try_now(path)? {
                Some(lock) if lock.is_at(path) => return Ok(Some(lock)),
                Some(_) => {}
                None if Instant::now() >= deadline => return Ok(None),
                None => thread::sleep(PAUSE),
            }
        }
    }

    /// Writes the holder's pid into the file, for whoever finds it locked. On a
    /// full disk nothing is in it.
    pub fn sign(&self) {
        self.sign_with("");
    }

    /// The same, and a word in a line of its own.
    pub fn sign_with(&self, word: &str) {
        let text = format!("{}\n{word}", std::process::id());
        let empty = self.file.set_len(0);
        let _ = empty.and_then(|()| self.file.write_all_at(text.as_bytes(), 0));
    }

    /// Takes back what a holder has written into the file, or one before.
    pub fn blank(&self) {
        let _ = self.file.set_len(0);
    }

    /// Is it held by somebody who has signed? Makes nothing.
    pub fn is_signed(path: &Path) -> bool {
        Self::is_held(path) && fs::metadata(path).is_ok_and(|file| file.len() > 0)
    }

    /// Removes the file, and with it the lock: whoever waits for it makes a
    /// new one.
    pub fn remove(self, path: &Path) {
        let _ = fs::remove_file(path);
    }

    /// Takes the lock unless somebody holds it.
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn try_now(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(Error::path("lock", path, error)),
        }
    }

    /// Does somebody hold it? Makes nothing.
    pub fn is_held(path: &Path) -> bool {
        File::open(path).is_ok_and(|file| file.try_lock_shared().is_err())
    }

    /// Is the locked file still the one of this name?
    pub fn is_at(&self, path: &Path) -> bool {
        let own = self.file.metadata().map(|meta| (meta.dev(), meta.ino()));
        let named = fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
        matches!((own, named), (Ok(own), Ok(named)) if own == named)
    }
}

/// Who holds the lock on a file (proc_locks(5)).
fn holder(path: &Path) -> Option<i32> {
    let file = fs::metadata(path).ok()?;
    let own = (major(file.dev()), minor(file.dev()), file.ino());
    let mut locks = procfs::locks().ok()?.into_iter();
    let held = locks.find(|lock| (lock.devmaj, lock.devmin, lock.inode) == own)?;
    held.pid.filter(|pid| *pid > 0)
}

fn open(path: &Path) -> Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|e| Error::path("create", directory, e))?;
    }
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    // A file system that an error has made read-only: flock(2) asks for no more.
    let opened = opened.or_else(|error| match error.kind() {
        ErrorKind::ReadOnlyFilesystem => File::open(path).map_err(|_| error),
        _ => Err(error),
    });
    opened.map_err(|error| Error::path("open", path, error))
}
