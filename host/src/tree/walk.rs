//! Visits every name below a directory, each directory before what is in it,
//! names in the order of their bytes, so that two walks of equal trees are
//! equal.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fsroot::{RootDir, names_in, open_beneath};

use super::Check;
use super::attributes::path_of;
use super::kernel;
use super::room::Room;

/// Directories that may lie in each other. Each one on the way is open.
pub const DEEPEST: usize = 1000;

/// How long a lease is waited for. The kernel takes one away after 45 seconds
/// (`/proc/sys/fs/lease-break-time`); who takes it again and again is not waited for.
const LEASE: Duration = Duration::from_secs(60);

const RETRY: Duration = Duration::from_millis(20);

/// Nothing but what lies in the directory itself.
const BELOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// What a tree may be like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// What is mounted inside belongs to it, except for what isn't files but
    /// the kernel's own: see [`Passed::Kernel`].
    pub mounts: bool,
    /// Somebody changes it meanwhile: what vanishes is no mistake, nor is what
    /// is mounted: that is passed by unless it belongs to the tree.
    pub moving: bool,
}

impl Ground {
    /// Does this error say that a name has gone? openat2(2) also says EXDEV where
    /// what it has found is moved out of its directory in that moment; where
    /// mounts belong to the tree nothing else does.
    pub fn has_gone(self, cause: Errno) -> bool {
        self.moving
            && match cause {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP => true,
                Errno::XDEV => self.mounts,
                _ => false,
            }
    }

    fn how(self) -> ResolveFlags {
        if self.mounts { BELOW } else { BELOW | ResolveFlags::NO_XDEV }
    }
}

/// Why something was passed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It has gone, or become something else, since its name was read.
    Gone,
    /// It lies in /proc, /sys or another file system in which the kernel
    /// shows itself.
    Kernel,
    /// Something is mounted on it, and mounts don't belong to a tree that
    /// somebody changes meanwhile.
    Mount,
    /// It is none to the file system that it is copied to: see
    /// [`super::is_whiteout`].
    Whiteout,
}

/// One name, not followed if it is a link.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The directory that holds it.
    pub parent: BorrowedFd<'a>,
    /// Its name there; empty for the root itself.
    pub name: &'a OsStr,
    /// Its path below the root; empty for the root itself.
    pub path: &'a Path,
    /// What it was a moment ago.
    pub stat: &'a Stat,
    ground: Ground,
}

/// A file that stays the same whatever becomes of its name. It may be of any
/// kind, and isn't open for reading.
#[derive(Debug)]
pub struct Pinned {
    /// Its descriptor (`O_PATH`).
    pub file: OwnedFd,
    /// What it is.
    pub stat: Stat,
}

impl Pinned {
    /// Opens it for reading.
    ///
    /// # Errors
    /// ESTALE if it isn't a regular file; those of open(2).
    pub fn open(&self) -> Result<OwnedFd, Errno> {
        if FileType::from_raw_mode(self.stat.st_mode) != FileType::RegularFile {
            return Err(Errno::STALE);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = path_of(self.file.as_fd());
        // The time of the last access is the guest's, not ours; only with a
        // file of an unknown owner that can't be had (open(2)).
        match fs::open(&path, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => fs::open(&path, flags, Mode::empty()),
            other => other,
        }
    }

    /// The same of a file that a program may have a lease on (fcntl(2), `F_SETLEASE`;
    /// Samba has): opening it asks for that back.
    ///
    /// # Errors
    /// As [`Pinned::open`]; EAGAIN if the lease isn't given back, or `check` says no.
    pub fn open_leased(&self, check: Check<'_>) -> Result<OwnedFd, Errno> {
        let start = Instant::now();
        loop {
            match self.open() {
                Err(Errno::AGAIN) if start.elapsed() < LEASE && check().is_ok() => {
                    thread::sleep(RETRY);
                }
                other => return other,
            }
        }
    }
}

/// Holds fast what is at a path below a directory, as a walk would find it: no
/// link on the way is followed.
///
/// # Errors
/// Those of openat2(2).
pub fn pin(directory: BorrowedFd<'_>, path: &Path, ground: Ground) -> Result<Pinned, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let file = open_beneath(directory, path, flags, Mode::empty(), ground.how())?;
    let stat = fs::fstat(&file)?;
    Ok(Pinned { file, stat })
}

impl<'a> Entry<'a> {
    /// A name in a directory, which is at `path`.
    pub fn new(
        parent: BorrowedFd<'a>,
        name: &'a OsStr,
        path: &'a Path,
        stat: &'a Stat,
        ground: Ground,
    ) -> Self {
        Self { parent, name, path, stat, ground }
    }

    /// Holds it fast.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn pin(&self) -> Result<Pinned, Errno> {
        let name = if self.name.is_empty() { OsStr::new(".") } else { self.name };
        pin(self.parent, Path::new(name), self.ground)
    }

    /// What kind of file it is.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// As [`Entry::pin`] and [`Pinned::open`].
    pub fn open(&self) -> Result<OwnedFd, Errno> {
        self.pin()?.open()
    }
}

/// What a walk meets.
#[derive(Debug)]
pub enum Step<'a> {
    /// A name; if it is a directory, its descriptor, and what is in it comes
    /// next.
    Enter(Entry<'a>, Option<BorrowedFd<'a>>),
    /// The end of a directory.
    Leave(BorrowedFd<'a>, &'a Stat, &'a Path),
    /// What isn't visited.
    Passed(&'a Path, Passed),
}

struct Level {
    directory: OwnedFd,
    stat: Stat,
    path: PathBuf,
    /// What is still to be visited, the last one first.
    names: Vec<OsString>,
}

/// Visits a tree at rest, the root itself first.
///
/// # Errors
/// Those of `visit` and `check`; when something is mounted inside, directories
/// lie too deep, or can't be read.
pub fn walk(
    root: &RootDir,
    check: Check<'_>,
    visit: impl FnMut(Step<'_>) -> Result<()>,
) -> Result<()> {
    walk_on(root, Ground::default(), check, visit)
}

/// Visits a tree that may be like this.
///
/// # Errors
/// As [`walk`].
pub fn walk_on(
    root: &RootDir,
    ground: Ground,
    check: Check<'_>,
    mut visit: impl FnMut(Step<'_>) -> Result<()>,
) -> Result<()> {
    let _room = Room::make();
    let top = level(root.as_fd(), OsStr::new("."), PathBuf::new(), ground)
        .map_err(|cause| root.error("read", Path::new(""), cause))?;
    let (nameless, pathless) = (OsStr::new(""), Path::new(""));
    let itself = Entry::new(top.directory.as_fd(), nameless, pathless, &top.stat, ground);
    visit(Step::Enter(itself, Some(top.directory.as_fd())))?;
    let mut levels = vec![top];
    while let Some(here) = levels.last_mut() {
        check()?;
        let Some(name) = here.names.pop() else {
            if let Some(done) = levels.pop() {
                visit(Step::Leave(done.directory.as_fd(), &done.stat, &done.path))?;
            }
            continue;
        };
        let path = here.path.join(&name);
        let parent = here.directory.as_fd();
        let stat = match fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(cause) if ground.has_gone(cause) => {
                visit(Step::Passed(&path, Passed::Gone))?;
                continue;
            }
            other => other.map_err(|cause| root.error("read", &path, cause))?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            visit(Step::Enter(Entry::new(parent, &name, &path, &stat, ground), None))?;
            continue;
        }
        let below = match level(parent, &name, path.clone(), ground) {
            Err(cause) if ground.has_gone(cause) => {
                visit(Step::Passed(&path, Passed::Gone))?;
                continue;
            }
            Err(Errno::XDEV) if ground.moving => {
                visit(Step::Passed(&path, Passed::Mount))?;
                continue;
            }
            Err(Errno::XDEV) => return Err(mounted(root, &path)),
            other => other.map_err(|cause| root.error("read", &path, cause))?,
        };
        if below.stat.st_dev != here.stat.st_dev
            && kernel::owns(&below.directory).map_err(|cause| root.error("read", &path, cause))?
        {
            visit(Step::Passed(&path, Passed::Kernel))?;
            continue;
        }
        let entry = Entry::new(parent, &name, &path, &below.stat, ground);
        visit(Step::Enter(entry, Some(below.directory.as_fd())))?;
        if levels.len() >= DEEPEST {
            return Err(Error::new(format!(
                "more than {DEEPEST} directories lie in each other at '{}'",
                root.shown(&path).display()
            )));
        }
        levels.push(below);
    }
    Ok(())
}

fn level(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    path: PathBuf,
    ground: Ground,
) -> Result<Level, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |flags| fs::openat2(parent, name, flags, Mode::empty(), ground.how());
    let directory = match open(flags | OFlags::NOATIME) {
        // Of an unknown owner (open(2)).
        Err(Errno::PERM) => open(flags)?,
        other => other?,
    };
    let stat = fs::fstat(&directory)?;
    let mut names = names_in(&directory)?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    // One that is removed and made anew meanwhile may be read twice (readdir(3)).
    names.dedup();
    Ok(Level { directory, stat, path, names })
}

/// That a file can't be read.
pub fn unread(root: &RootDir, path: &Path, cause: Errno) -> Error {
    let error = root.error("read", path, cause);
    match cause {
        Errno::AGAIN => error.hint(
            "a program has a lease on it (fcntl(2), F_SETLEASE) and doesn't give it back: end that \
             program, or wait until it has closed the file",
        ),
        _ => error,
    }
}

/// That something is mounted inside.
pub fn mounted(root: &RootDir, path: &Path) -> Error {
    let shown = root.shown(path);
    Error::new(format!("something is mounted on '{}'", shown.display()))
        .hint(format!("'umount {}' first", shown.display()))
}
