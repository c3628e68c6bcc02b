//! Where a guest's root is made before it is in place, and how it gets there; and
//! where one is moved that is removed.
//!
//! A workspace is a directory `.vserver-build-GUEST-PID-N` beside the target, on the
//! same file system, or `.vserver-delete-…`, which nobody but root can look into. Its
//! owner holds a lock on it, so that the next build can tell what an owner who was
//! killed has left, and removes that. Before the rename the workspace records which
//! directory is to be put where: a root that was put in place without
//! ever getting its configuration is recognised by that, and nothing else is ever
//! removed.

mod journal;
mod leftover;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::fsroot::{RootDir, remove_tree};
use crate::progress::Progress;
use crate::storage;
use crate::store;

use journal::Journal;
pub(super) use leftover::{Leftovers, is_cut_short, is_left};

const BUILDING: &str = ".vserver-build-";
const DELETING: &str = ".vserver-delete-";
const ROOT: &str = "root";
const MOUNT_POINT: &str = "mnt";

/// Names that are tried before it is given up.
const ATTEMPTS: u32 = 100;

/// A directory in which a root is made. Removed when dropped.
#[derive(Debug)]
pub(super) struct Workspace {
    path: PathBuf,
    /// Holds the lock; dropped after the directory has been removed.
    _lock: OwnedFd,
}

impl Workspace {
    /// Makes one in `parent`, for what is built of this guest.
    pub(super) fn create(parent: &Path, name: &GuestName) -> Result<Self> {
        Self::make(parent, BUILDING, name)
    }

    /// Makes one for what is removed of this guest.
    pub(super) fn for_removal(parent: &Path, name: &GuestName) -> Result<Self> {
        Self::make(parent, DELETING, name)
    }

    fn make(parent: &Path, prefix: &str, guest: &GuestName) -> Result<Self> {
        let number = std::process::id();
        for attempt in 0..ATTEMPTS {
            let name = OsString::from(format!("{prefix}{guest}-{number}-{attempt}"));
            let path = parent.join(&name);
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Err(Errno::EXIST) => continue,
                made => made.map_err(|cause| Error::path("create directory", &path, cause))?,
            }
            match locked(parent, &name) {
                Ok(Some(lock)) => return Ok(Self { path, _lock: lock }),
                // Somebody who sweeps came between, and has taken it for a left one.
                Ok(None) | Err(Errno::NOENT) => {}
                Err(cause) => return Err(Error::path("lock", &path, cause)),
            }
        }
        Err(Error::path("create a directory in", parent, Errno::EXIST))
    }

    /// Where the root is to be made.
    pub(super) fn root(&self) -> PathBuf {
        self.path.join(ROOT)
    }

    /// Makes the root, a directory; on btrfs it is a subvolume.
    pub(super) fn make_root(&self) -> Result<RootDir> {
        let root = self.root();
        storage::make_subvolume(&root)
            .map_err(|cause| Error::path("create directory", &root, cause))?;
        rustix::fs::chmod(&root, Mode::from_raw_mode(0o755))
            .map_err(|cause| Error::path("change the permissions of", &root, cause))?;
        RootDir::open(&root)
    }

    /// Makes a directory to mount something on.
    pub(super) fn make_mount_point(&self) -> Result<PathBuf> {
        let path = self.path.join(MOUNT_POINT);
        fs::create_dir(&path).map_err(|cause| Error::path("create directory", &path, cause))?;
        Ok(path)
    }

    /// Renames the root to `target`, which must not exist, or is first set aside with the
    /// configuration. The guest counts as complete once `config` exists, and if it
    /// `goes_on` from there, not before it is kept.
    pub(super) fn place(
        self,
        target: &Path,
        config: &Path,
        goes_on: bool,
        sets_aside: bool,
    ) -> Result<Placed> {
        let root = self.root();
        let failed = |cause: std::io::Error| Error::path("put in place", target, cause);
        let aside = if sets_aside { Aside::plan([target, config]) } else { Vec::new() };
        Journal::new(&root, target, config, goes_on, aside.clone())?.write(&self.path)?;
        let aside = Aside::take(aside)?;
        store::rename_new((CWD, &root), (CWD, target)).map_err(|cause| failed(cause.into()))?;
        let target = Some(target.to_owned());
        let placed = Placed { target, aside, workspace: self };
        // Before what says that it is complete.
        placed.target.as_deref().map_or(Ok(()), store::sync_directory)?;
        Ok(placed)
    }
}

impl Workspace {
    /// Leaves the root, as far as it has been made, beside `target`, as
    /// `TARGET.~TIME~`, closed to everybody but root.
    pub(super) fn set_aside(&self, target: &Path) -> Result<PathBuf> {
        let root = self.path.join(ROOT);
        let away = aside(target);
        let failed = |cause| Error::path("set aside", &root, cause);
        rustix::fs::chmod(&root, Mode::RWXU).map_err(|cause| failed(cause.into()))?;
        fs::rename(&root, &away).map_err(failed)?;
        Ok(away)
    }

    /// Changes places with the root that is at `target`, in one step, if there is one. The
    /// old one goes with the workspace.
    pub(super) fn exchange(&self, target: &Path) -> Result<()> {
        let root = self.path.join(ROOT);
        let exchange = || rustix::fs::renameat_with(CWD, &root, CWD, target, RenameFlags::EXCHANGE);
        let placed = match exchange() {
            Err(Errno::NOENT) => store::rename_new((CWD, &root), (CWD, target)).map(|()| false),
            exchanged => exchanged.map(|()| true),
        };
        let has_old = placed.map_err(|cause| Error::path("put in place", target, cause))?;
        // Before the old one goes.
        store::sync_directory(target).inspect_err(|_| {
            let _ = match has_old {
                true => exchange(),
                false => store::rename_new((CWD, target), (CWD, &root)),
            };
        })
    }

    /// Waits until the disk has all that is in the root: what is named then is there
    /// after a power failure, too.
    pub(super) fn sync(&self, progress: &mut Progress) -> Result<()> {
        progress.lines("written to the disk");
        let synced = store::sync_file_system(&self.path);
        progress.end();
        synced
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Nobody is left to tell; the next build's sweep tries again.
        let _ = remove_path(&self.path);
    }
}

/// A root that is in place, but goes again unless it is kept.
#[derive(Debug)]
pub(super) struct Placed {
    target: Option<PathBuf>,
    /// Goes back before the workspace is removed, which may take its time.
    aside: Aside,
    workspace: Workspace,
}

impl Placed {
    /// The guest is complete. Gives a remark for each that was set aside.
    pub(super) fn keep(mut self) -> Vec<String> {
        self.complete()
    }

    /// From then on its root may get another configuration, or be another guest's.
    fn complete(&mut self) -> Vec<String> {
        // Nobody is left to tell; it goes with the workspace, too.
        let _ = Journal::remove(&self.workspace.path);
        self.target = None;
        self.aside.keep()
    }

    /// The guest is not, and its root is left beside `target` all the same
    /// ([`Workspace::set_aside`]).
    pub(super) fn set_aside(mut self, target: &Path) -> Result<PathBuf> {
        if let Some(target) = self.target.take() {
            let back = self.workspace.path.join(ROOT);
            fs::rename(&target, &back).map_err(|cause| Error::path("move", &target, cause))?;
        }
        self.workspace.set_aside(target)
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            let _ = fs::rename(target, self.workspace.path.join(ROOT));
            // It never meets what comes back, whenever the power fails.
            let _ = store::sync_directory(target);
        }
    }
}

/// `PATH.~TIME~`, which nothing has yet.
fn aside(path: &Path) -> PathBuf {
    let mut now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    loop {
        let mut away = path.as_os_str().to_owned();
        away.push(format!(".~{now}~"));
        let away = PathBuf::from(away);
        if away.symlink_metadata().is_err() {
            return away;
        }
        now += 1;
    }
}

/// An older root and configuration that were moved aside for a new guest, as
/// util-vserver's `--force` did: to `NAME.~EPOCH~`. Moved back when dropped.
#[derive(Debug, Default)]
struct Aside {
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Aside {
    /// Where these are to be moved, as far as they exist.
    fn plan(paths: [&Path; 2]) -> Vec<(PathBuf, PathBuf)> {
        let there = paths.into_iter().filter(|path| path.symlink_metadata().is_ok());
        there.map(|path| (path.to_owned(), aside(path))).collect()
    }

    /// Moves them, on the disk, too: nothing that comes later may meet the old ones after
    /// a power failure.
    ///
    /// # Errors
    /// When one can't be renamed; nothing is moved then.
    fn take(plan: Vec<(PathBuf, PathBuf)>) -> Result<Self> {
        let mut all = Self::default();
        for (path, away) in plan {
            match fs::rename(&path, &away) {
                Ok(()) => all.moved.push((path, away)),
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => return Err(Error::path("set aside", &path, cause)),
            }
        }
        all.moved.iter().try_for_each(|(path, _)| store::sync_directory(path))?;
        Ok(all)
    }

    /// Leaves them where they are now; gives one remark for each.
    fn keep(&mut self) -> Vec<String> {
        let moved = std::mem::take(&mut self.moved);
        moved.iter().map(|(_, away)| format!("the old one is now '{}'", away.display())).collect()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for (path, away) in &self.moved {
            let _ = fs::rename(away, path);
        }
    }
}

/// Opens and locks a workspace of this name; `None` when somebody else has it.
fn locked(parent: &Path, name: &std::ffi::OsStr) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let directory = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
    let exclusive = FlockOperation::NonBlockingLockExclusive;
    Ok(leftover::lock(&parent, name, &directory, exclusive)?.then_some(directory))
}

pub(super) fn remove_path(path: &Path) -> Result<(), Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL);
    };
    let parent = File::open(parent).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    remove_tree(&parent, name)
}

#[cfg(test)]
mod tests;
