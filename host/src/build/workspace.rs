//! Where a guest's root is made before it is in place, and how it gets there.
//!
//! A workspace is a directory `.build-NAME-PID` beside the target, on the
//! same file system. Its owner holds a lock on it, so that the next build can
//! tell what an owner who was killed has left, and removes that. Before the
//! rename the workspace records which directory (device and inode) is to be
//! put where: a root that was put in place without ever getting its
//! configuration is recognised by that, and nothing else is ever removed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::fsroot::{RootDir, remove_tree};
use crate::progress::Progress;
use crate::storage;
use crate::store;
use crate::tree;

const BUILDING: &str = ".build-";
pub(super) const DELETING: &str = ".delete-";
const ROOT: &str = "root";
const MOUNT_POINT: &str = "mnt";
const JOURNAL: &str = "placing";
const GOES_ON: &[u8] = b"goes on";

/// A directory in which a root is made. Removed when dropped.
#[derive(Debug)]
pub(super) struct Workspace {
    path: PathBuf,
    /// Holds the lock; dropped after the directory has been removed.
    _lock: OwnedFd,
}

impl Workspace {
    /// Makes a workspace in `parent`, whose [`guard`] the caller holds.
    pub(super) fn create(parent: &Path, name: &GuestName) -> Result<Self> {
        let path = parent.join(format!("{BUILDING}{name}-{}", std::process::id()));
        let failed = |cause| Error::path("create directory", &path, cause);
        fs::create_dir(&path).map_err(failed)?;
        let lock = lock(&path).and_then(|lock| lock.ok_or(Errno::WOULDBLOCK));
        let lock = lock.map_err(|cause| Error::path("lock", &path, cause))?;
        rustix::fs::chmod(&path, Mode::RWXU).map_err(|cause| failed(cause.into()))?;
        Ok(Self { path, _lock: lock })
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

    /// Renames the root to `target`, which must not exist. The guest counts as
    /// complete once `config` exists, and if it `goes_on` from there, not
    /// before it is kept.
    pub(super) fn place(self, target: &Path, config: &Path, goes_on: bool) -> Result<Placed> {
        let root = self.path.join(ROOT);
        let failed = |cause: std::io::Error| Error::path("put in place", target, cause);
        let made = fs::metadata(&root).map_err(failed)?;
        let mut journal = format!("{}\0{}\0", made.dev(), made.ino()).into_bytes();
        journal.extend_from_slice(target.as_os_str().as_bytes());
        journal.push(0);
        journal.extend_from_slice(config.as_os_str().as_bytes());
        journal.push(0);
        journal.extend_from_slice(if goes_on { GOES_ON } else { b"" });
        fs::write(self.path.join(JOURNAL), journal).map_err(failed)?;
        let cwd = rustix::fs::CWD;
        store::rename_new((cwd, &root), (cwd, target)).map_err(|cause| failed(cause.into()))?;
        let placed = Placed { workspace: self, target: Some(target.to_owned()) };
        // Before what says that it is complete.
        store::sync_directory(target)?;
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

    /// Changes places with the root that is at `target`, in one step. The old
    /// one goes with the workspace.
    pub(super) fn exchange(&self, target: &Path) -> Result<()> {
        let cwd = rustix::fs::CWD;
        let root = self.path.join(ROOT);
        let exchange = || rustix::fs::renameat_with(cwd, &root, cwd, target, RenameFlags::EXCHANGE);
        exchange().map_err(|cause| Error::path("put in place", target, cause))?;
        // Before the old one goes.
        store::sync_directory(target).inspect_err(|_| {
            let _ = exchange();
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
    workspace: Workspace,
    target: Option<PathBuf>,
}

impl Placed {
    /// The guest is complete.
    pub(super) fn keep(mut self) {
        self.target = None;
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
        }
    }
}

/// Held while workspaces in `parent` are made, moved in or swept away, so
/// that a sweep never meets one that isn't locked yet.
///
/// # Errors
/// When the directory can't be locked.
pub(super) fn guard(parent: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty());
    directory
        .and_then(|directory| {
            rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
            Ok(directory)
        })
        .map_err(|cause| Error::path("lock", parent, cause))
}

/// Removes what killed builds, deletions and copies have left in `parent`,
/// whose [`guard`] the caller holds.
///
/// # Errors
/// When the directory can't be read.
pub(super) fn sweep(parent: &Path) -> Result<()> {
    let entries = fs::read_dir(parent).map_err(|cause| Error::path("read", parent, cause))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = |prefix: &str| name.as_bytes().starts_with(prefix.as_bytes());
        // An image is deleted, but nothing is built but in a directory.
        let is_directory = || entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !(is_ours(DELETING) || is_ours(BUILDING) && is_directory()) {
            continue;
        }
        // Whoever holds the lock lives.
        let Ok(Some(_lock)) = lock(&entry.path()) else { continue };
        if is_ours(BUILDING) {
            take_back(&entry.path());
        }
        let _ = remove_path(&entry.path());
    }
    tree::sweep(&RootDir::open(parent)?).map_err(|cause| Error::path("read", parent, cause))
}

/// Takes back a root that a killed build had put in place, unless the guest
/// is complete.
fn take_back(workspace: &Path) {
    let Ok(journal) = fs::read(workspace.join(JOURNAL)) else { return };
    let fields: Vec<&[u8]> = journal.split(|byte| *byte == 0).collect();
    let [device, inode, target, config, goes_on] = fields.as_slice() else { return };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let path = |bytes| Path::new(OsStr::from_bytes(bytes));
    let is_the_one = fs::symlink_metadata(path(target))
        .is_ok_and(|m| number(device) == Some(m.dev()) && number(inode) == Some(m.ino()));
    let goes_on = *goes_on == GOES_ON;
    let is_complete = path(config).symlink_metadata().is_ok() && !goes_on;
    if is_the_one && !is_complete {
        let _ = fs::rename(path(target), workspace.join(ROOT));
        if goes_on {
            let _ = fs::remove_file(path(config));
        }
    }
}

/// `PATH.~TIME~`.
fn aside(path: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut away = path.as_os_str().to_owned();
    away.push(format!(".~{now}~"));
    away.into()
}

/// An older root and configuration that were moved aside for a new guest, as
/// util-vserver's `--force` did: to `NAME.~EPOCH~`. Moved back when dropped.
#[derive(Debug, Default)]
pub(super) struct Aside {
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Aside {
    /// Moves both aside, as far as they exist.
    ///
    /// # Errors
    /// When one can't be renamed; nothing is moved then.
    pub(super) fn take(root: &Path, config: &Path) -> Result<Self> {
        let mut all = Self::default();
        for path in [root, config] {
            let away = aside(path);
            match fs::rename(path, &away) {
                Ok(()) => all.moved.push((path.to_owned(), away)),
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => return Err(Error::path("set aside", path, cause)),
            }
        }
        Ok(all)
    }

    /// Leaves them where they are now; gives one remark for each.
    pub(super) fn keep(&mut self) -> Vec<String> {
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

/// Locks a directory, or a file such as an image; `None` when somebody else has
/// it.
pub(super) fn lock(path: &Path) -> Result<Option<OwnedFd>, Errno> {
    // Nothing else is opened for more than a look at what it is.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
    if !matches!(kind, FileType::Directory | FileType::RegularFile) {
        return Err(Errno::INVAL);
    }
    match rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(opened)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(cause) => Err(cause),
    }
}

pub(super) fn remove_path(path: &Path) -> Result<(), Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL);
    };
    let parent = File::open(parent).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    remove_tree(&parent, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> GuestName {
        "web".parse().unwrap()
    }

    fn made(parent: &Path) -> Workspace {
        let workspace = Workspace::create(parent, &name()).unwrap();
        workspace.make_root().unwrap();
        workspace
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_dropped_workspace_is_gone_and_a_foreign_one_stays() {
        let parent = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(parent.path(), &name()).unwrap();
        sweep(parent.path()).unwrap();
        assert_eq!(names(parent.path()).len(), 1);
        drop(workspace);
        assert_eq!(names(parent.path()).len(), 0);
    }

    #[test]
    fn a_killed_build_is_swept_away_with_its_root() {
        let parent = tempfile::tempdir().unwrap();
        let (target, config) = (parent.path().join("web"), parent.path().join("web.toml"));
        let workspace = made(parent.path());
        let mut placed = workspace.place(&target, &config, false).unwrap();
        placed.target = None;
        fs::rename(&placed.workspace.path, parent.path().join(".build-web-1")).unwrap();
        drop(placed);
        assert!(target.exists());
        sweep(parent.path()).unwrap();
        assert_eq!(names(parent.path()).len(), 0);
    }

    #[test]
    fn a_killed_deletion_of_an_image_is_swept_away_and_one_that_lives_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(".delete-web-1");
        fs::write(&path, "an image").unwrap();
        let held = lock(&path).unwrap().unwrap();
        sweep(parent.path()).unwrap();
        assert_eq!(names(parent.path()).len(), 1);
        drop(held);
        sweep(parent.path()).unwrap();
        assert_eq!(names(parent.path()).len(), 0);
        let other = parent.path().join(".build-web-1");
        fs::write(&other, "somebody's own").unwrap();
        sweep(parent.path()).unwrap();
        assert!(other.exists());
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(lock(&path).is_err());
    }

    #[test]
    fn a_complete_guest_is_not_swept_away() {
        let parent = tempfile::tempdir().unwrap();
        let (target, config) = (parent.path().join("web"), parent.path().join("web.toml"));
        let mut placed = made(parent.path()).place(&target, &config, false).unwrap();
        fs::write(&config, "").unwrap();
        placed.target = None;
        fs::rename(&placed.workspace.path, parent.path().join(".build-web-1")).unwrap();
        drop(placed);
        sweep(parent.path()).unwrap();
        let mut left = names(parent.path());
        left.sort();
        assert_eq!(left, ["web", "web.toml"]);
    }

    #[test]
    fn a_guest_that_was_to_go_on_is_swept_away_with_its_configuration() {
        let parent = tempfile::tempdir().unwrap();
        let (target, config) = (parent.path().join("web"), parent.path().join("web.toml"));
        let workspace = made(parent.path());
        let mut placed = workspace.place(&target, &config, true).unwrap();
        fs::write(&config, "").unwrap();
        placed.target = None;
        fs::rename(&placed.workspace.path, parent.path().join(".build-web-1")).unwrap();
        drop(placed);
        sweep(parent.path()).unwrap();
        assert_eq!(names(parent.path()).len(), 0);
    }

    #[test]
    fn a_root_that_is_not_kept_goes_again() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("web");
        let workspace = made(parent.path());
        drop(workspace.place(&target, &parent.path().join("c"), false).unwrap());
        assert_eq!(names(parent.path()).len(), 0);
    }

    #[test]
    fn an_existing_target_is_not_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("web");
        fs::create_dir(&target).unwrap();
        let workspace = made(parent.path());
        assert!(workspace.place(&target, &parent.path().join("c"), false).is_err());
        assert_eq!(names(parent.path()), ["web"]);
    }

    #[test]
    fn what_is_set_aside_comes_back_unless_kept() {
        let parent = tempfile::tempdir().unwrap();
        let (root, config) = (parent.path().join("web"), parent.path().join("web.toml"));
        fs::create_dir(&root).unwrap();
        drop(Aside::take(&root, &config).unwrap());
        assert_eq!(names(parent.path()), ["web"]);
        assert_eq!(Aside::take(&root, &config).unwrap().keep().len(), 1);
        assert!(names(parent.path())[0].starts_with("web.~"));
    }
}
