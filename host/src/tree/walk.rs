//! Visits every name below a directory, each directory before what is in it,
//! names in the order of their bytes, so that two walks of equal trees are
//! equal.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fsroot::{RootDir, names_in};

use super::Check;

/// Directories that may lie in each other. Each one on the way is open.
const DEEPEST: usize = 1000;

/// Nothing but what lies in the directory itself, and on its file system.
const BELOW: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// One name, not followed if it is a link.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The directory that holds it.
    pub parent: BorrowedFd<'a>,
    /// Its name there; empty for the root itself.
    pub name: &'a OsStr,
    /// Its path below the root; empty for the root itself.
    pub path: &'a Path,
    /// What it is.
    pub stat: &'a Stat,
}

impl Entry<'_> {
    /// What kind of file it is.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn open(&self) -> Result<OwnedFd, Errno> {
        // The time of the last access is the guest's, not ours.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOATIME;
        fs::openat2(self.parent, self.name, flags | OFlags::CLOEXEC, Mode::empty(), BELOW)
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
}

struct Level {
    directory: OwnedFd,
    stat: Stat,
    path: PathBuf,
    /// What is still to be visited, the last one first.
    names: Vec<OsString>,
}

/// Visits a tree, the root itself first.
///
/// # Errors
/// Those of `visit` and `check`; when something is mounted inside, directories
/// lie too deep, or can't be read.
pub fn walk(
    root: &RootDir,
    check: Check<'_>,
    mut visit: impl FnMut(Step<'_>) -> Result<()>,
) -> Result<()> {
    let top = level(root.as_fd(), OsStr::new("."), PathBuf::new())
        .map_err(|cause| root.error("read", Path::new(""), cause))?;
    let itself = Entry {
        parent: top.directory.as_fd(),
        name: OsStr::new(""),
        path: Path::new(""),
        stat: &top.stat,
    };
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
        let failed = |cause| root.error("read", &path, cause);
        let parent = here.directory.as_fd();
        let stat = fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            visit(Step::Enter(Entry { parent, name: &name, path: &path, stat: &stat }, None))?;
            continue;
        }
        let below = level(parent, &name, path.clone()).map_err(|cause| match cause {
            Errno::XDEV => mounted(root, &path),
            cause => failed(cause),
        })?;
        let entry = Entry { parent, name: &name, path: &path, stat: &below.stat };
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

fn level(parent: BorrowedFd<'_>, name: &OsStr, path: PathBuf) -> Result<Level, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NOATIME;
    let how = OFlags::CLOEXEC | flags;
    let directory = fs::openat2(parent, name, how, Mode::empty(), BELOW)?;
    let stat = fs::fstat(&directory)?;
    let mut names = names_in(&directory)?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Level { directory, stat, path, names })
}

fn mounted(root: &RootDir, path: &Path) -> Error {
    let shown = root.shown(path);
    Error::new(format!("something is mounted on '{}'", shown.display()))
        .hint(format!("'umount {}' first", shown.display()))
}
