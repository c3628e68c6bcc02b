//! Which contexts run: `/run/vserver/.contexts/NUMBER`, one file each.
//!
//! A context's reaper holds flock(2) on its file, so an entry is true as long
//! as the lock is held, whoever looks, also from within another PID namespace
//! and after any kind of death. What can't be locked lives; what can is a
//! leftover, removed by whoever makes or joins a context next: under the
//! register's own lock, so that no newer entry has come to its name meanwhile.
//! An entry that is lost takes nothing from the context's processes: they only
//! can't be joined by number any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runtime::Lock;
use crate::sys;

/// How long others may make and join contexts: each takes moments.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is written down about a running context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Inode of its PID namespace, which tells it from all others.
    pub pid_namespace: u64,
    /// Is PID 1 the command itself (`fakeinit`), not vserver's reaper?
    pub is_own_init: bool,
    /// May nobody join it (`private`)?
    pub is_private: bool,
}

/// An entry that has no number yet; locked.
#[derive(Debug)]
pub struct Entry {
    file: File,
    path: PathBuf,
}

/// The register of running contexts.
#[derive(Clone, Debug)]
pub struct Registry {
    directory: PathBuf,
}

impl Registry {
    /// The register of an installation.
    pub fn new(paths: &Paths) -> Self {
        Self { directory: paths.contexts_dir() }
    }

    /// Keeps others from making and joining contexts until it is dropped.
    ///
    /// # Errors
    /// When the directory or the file can't be made, or others take too long.
    pub fn lock(&self) -> Result<Lock> {
        if let Some(parent) = self.directory.parent() {
            fs::create_dir_all(parent).map_err(|error| Error::path("create", parent, error))?;
        }
        match fs::DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::path("create", &self.directory, error));
            }
            _ => {}
        }
        let deadline = Instant::now() + PATIENCE;
        let lock = Lock::wait_until(&self.directory.join(".lock"), deadline)?.ok_or_else(|| {
            let text = "another chcontext has been making or joining a context for too long";
            Error::new(text).hint("see which doesn't go on: ps -C chcontext -o pid,stat,wchan,args")
        })?;
        self.sweep();
        Ok(lock)
    }

    /// A locked file for a context that is about to be made.
    ///
    /// # Errors
    /// Those of open(2) and flock(2).
    pub fn prepare(&self) -> Result<Entry> {
        let path = self.directory.join(format!(".new-{}", std::process::id()));
        let fail = |error: io::Error| Error::path("write", &path, error);
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(fail)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| fail(e.into()))?;
        Ok(Entry { file, path: path.clone() })
    }

    /// Removes the entry of a context that ends. Only for whoever holds the
    /// lock on it: a newer one might stand there.
    pub fn remove(&self, number: u32) {
        let _ = fs::remove_file(self.directory.join(number.to_string()));
    }

    /// The running context of this number.
    pub fn find(&self, number: u32) -> Option<Record> {
        let file = File::open(self.directory.join(number.to_string())).ok()?;
        if is_left(&file) { None } else { serde_json::from_reader(file).ok() }
    }

    /// All running contexts with their numbers.
    pub fn all(&self) -> Vec<(u32, Record)> {
        self.numbers().filter_map(|number| Some((number, self.find(number)?))).collect()
    }

    fn numbers(&self) -> impl Iterator<Item = u32> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// Removes what contexts that were killed have left.
    fn sweep(&self) {
        for number in self.numbers() {
            let path = self.directory.join(number.to_string());
            if File::open(&path).is_ok_and(|file| is_left(&file)) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Entry {
    /// The locked file, for the process that shall hold the lock.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the entry its number and its content.
    ///
    /// # Errors
    /// Those of write(2) and rename(2); then there is no entry.
    pub fn publish(mut self, number: u32, record: &Record) -> Result<()> {
        let target = self.path.with_file_name(number.to_string());
        let text = serde_json::to_vec(record).unwrap_or_default();
        let written = self.file.write_all(&text).and_then(|()| fs::rename(&self.path, &target));
        written.map_err(|error| Error::path("write", &target, error))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Not there any more under this name if it was published.
        let _ = fs::remove_file(&self.path);
    }
}

/// Has the reaper of this entry's context died?
fn is_left(file: &File) -> bool {
    flock(file.as_fd(), FlockOperation::NonBlockingLockShared).is_ok()
}

/// Inode of a process's PID namespace.
///
/// # Errors
/// When there is no such process, or it is another user's.
pub fn pid_namespace(pid: impl std::fmt::Display) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/pid"))?.ino())
}

/// PID 1 of a PID namespace, as the caller sees it, and a pidfd for it.
pub fn init_of(namespace: u64) -> Option<(i32, std::os::fd::OwnedFd)> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).find_map(|pid| {
        let is_it = || pid_namespace(pid).is_ok_and(|inode| inode == namespace) && is_init(pid);
        if !is_it() {
            return None;
        }
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // If it is the one still, the descriptor refers to it.
        is_it().then_some((pid, process))
    })
}

/// proc_pid_status(5), "NSpid": the last number is the innermost.
fn is_init(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.is_some_and(|line| line.split_whitespace().next_back() == Some("1"))
}

/// Contexts that are no guests, as they are at one moment.
#[derive(Clone, Debug, Default)]
pub struct Contexts {
    running: Vec<(u32, Record)>,
}

impl Contexts {
    /// Looks into the register, which only root may. Others see none.
    pub fn read(paths: &Paths) -> Self {
        Self { running: Registry::new(paths).all() }
    }

    /// Numbers of all that run.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.running.iter().map(|(number, _)| *number)
    }

    /// The context that a process is in; `None` if it is in none, is gone, or
    /// is another user's. A process in a PID namespace made inside a context
    /// is that context's.
    pub fn number_of(&self, pid: i32) -> Option<u32> {
        if self.running.is_empty() {
            return None;
        }
        let mut namespace = File::open(format!("/proc/{pid}/ns/pid")).ok()?;
        loop {
            let inode = namespace.metadata().ok()?.ino();
            let known = self.running.iter().find(|(_, record)| record.pid_namespace == inode);
            if let Some((number, _)) = known {
                return Some(*number);
            }
            // Refused above the caller's own namespace.
            namespace = sys::parent_pid_namespace(namespace.as_fd()).ok()?.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_register_is_not_waited_for_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x/.lock");
        let soon = || Instant::now() + Duration::from_millis(100);
        let held = Lock::wait_until(&path, soon()).unwrap().unwrap();
        assert!(Lock::wait_until(&path, soon()).unwrap().is_none());
        let other = std::thread::spawn({
            let path = path.clone();
            move || Lock::wait_until(&path, Instant::now() + Duration::from_secs(60))
        });
        // A file that is removed meanwhile is made anew.
        held.remove(&path);
        assert!(other.join().unwrap().unwrap().unwrap().is_at(&path));
    }

    #[test]
    fn an_entry_lives_as_long_as_its_lock() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::new(&Paths::new(directory.path()));
        let lock = registry.lock().unwrap();
        let own = pid_namespace("self").unwrap();
        let record = Record { pid_namespace: own, is_own_init: false, is_private: false };
        let entry = registry.prepare().unwrap();
        let holder = entry.file().try_clone().unwrap();
        entry.publish(100, &record).unwrap();
        assert_eq!(registry.find(100), Some(record.clone()));
        assert_eq!(registry.all(), [(100, record)]);
        assert_eq!(registry.find(101), None);
        let contexts = Contexts { running: registry.all() };
        let own_pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(contexts.number_of(own_pid), Some(100));
        drop(holder);
        assert_eq!(registry.find(100), None);
        // Gone with the next one that may change anything.
        let file = directory.path().join("run/vserver/.contexts/100");
        assert!(file.exists());
        drop(lock);
        drop(registry.lock().unwrap());
        assert!(!file.exists());
    }

    #[test]
    fn an_entry_without_a_number_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::new(&Paths::new(directory.path()));
        let lock = registry.lock().unwrap();
        drop(registry.prepare().unwrap());
        drop(lock);
        assert!(registry.all().is_empty());
        let left = fs::read_dir(directory.path().join("run/vserver/.contexts")).unwrap();
        assert_eq!(left.count(), 1, "only the lock file");
    }
}
