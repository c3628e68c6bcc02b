//! Copies a tree into a directory that is its own, so that no tool finds a
//! difference.
//!
//! Nothing is done by name twice: what was made is held by its descriptor, so
//! that whoever can reach the new directory, too, a guest's root, gains nothing
//! by putting something else in a name's place.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::attributes::{self, Attributes};
use super::content::{self, How};
use super::kernel;
use super::walk::{self, Entry, Ground, Passed, Pinned, Step, walk_on};
use super::{Check, is_whiteout};

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Names, directories included.
    pub files: u64,
    /// Regular files whose blocks both trees have in common.
    pub shared: u64,
    /// Regular files whose bytes were copied.
    pub copied: u64,
    /// Files of which an attribute has no place on the new file system.
    pub without_attributes: u64,
}

/// Changes what a name has on its way, by its path; a name for which it says
/// no is left out, unless it is a directory.
pub type Change<'a> = &'a dyn Fn(&Path, &mut Stat, &mut Attributes) -> bool;

/// How a tree is copied.
#[derive(Clone, Copy)]
pub struct Manner<'a> {
    /// Asked between two files, and in long ones.
    pub check: Check<'a>,
    /// What each name becomes.
    pub change: Change<'a>,
    /// What the tree is like.
    pub ground: Ground,
    /// Told what was passed by.
    pub passed: &'a dyn Fn(&Path, Passed),
    /// A directory that is no part of it, by device and inode: that of the copy
    /// itself, which could lie inside.
    pub without: Option<(u64, u64)>,
}

impl std::fmt::Debug for Manner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manner").field("ground", &self.ground).finish_non_exhaustive()
    }
}

impl<'a> Manner<'a> {
    /// As it is, at rest.
    pub fn plain(check: Check<'a>) -> Self {
        let (change, passed) =
            (&|_: &Path, _: &mut Stat, _: &mut Attributes| true, &|_: &Path, _| {});
        Self { check, change, ground: Ground::default(), passed, without: None }
    }
}

/// Copies everything below `from` into `to`, an empty directory. `at` is told
/// how many names are done.
///
/// # Errors
/// When something can't be read or written, something is mounted inside, or
/// `check` says no. What was copied until then is left to the caller.
pub fn copy(
    from: &RootDir,
    to: &RootDir,
    manner: &Manner<'_>,
    mut at: impl FnMut(u64),
) -> Result<Copied> {
    let mut copying = Copying::new(from, to, manner);
    walk_on(from, manner.ground, manner.check, |step| {
        match step {
            Step::Enter(entry, None) => copying.file(&entry)?,
            Step::Enter(entry, Some(_)) => copying.enter(&entry)?,
            Step::Leave(directory, stat, path) => {
                let attributes = read(directory, manner.ground);
                let attributes = attributes.map_err(|cause| from.error("read", path, cause))?;
                copying.leave(*stat, attributes, path)?;
            }
            Step::Passed(path, why) => (manner.passed)(path, why),
        }
        at(copying.done.files);
        Ok(())
    })?;
    Ok(copying.done)
}

/// Copies one name of `from` that is no directory into `to`.
///
/// # Errors
/// As [`copy`].
pub fn copy_name(
    from: &RootDir,
    name: &OsStr,
    to: &RootDir,
    manner: &Manner<'_>,
) -> Result<Copied> {
    let path = Path::new(name);
    let failed = |cause| from.error("read", path, cause);
    let stat = fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    let mut copying = Copying::new(from, to, manner);
    let top = to.open_at(Path::new(""), DIRECTORY, Mode::empty());
    copying.open.push(top.map_err(|cause| to.error("open", Path::new(""), cause))?);
    // It was asked for by its name: that it has gone is a mistake.
    copying.ground.moving = false;
    copying.file(&Entry::new(from.as_fd(), name, path, &stat, copying.ground))?;
    Ok(copying.done)
}

struct Copying<'a> {
    from: &'a RootDir,
    to: &'a RootDir,
    manner: &'a Manner<'a>,
    ground: Ground,
    /// The new directories on the way, the root's first.
    open: Vec<OwnedFd>,
    /// Where the first name of a file with several is, by device and inode.
    links: BTreeMap<(u64, u64), PathBuf>,
    done: Copied,
}

impl<'a> Copying<'a> {
    fn new(from: &'a RootDir, to: &'a RootDir, manner: &'a Manner<'a>) -> Self {
        let (open, links, done) = (Vec::new(), BTreeMap::new(), Copied::default());
        Self { from, to, manner, ground: manner.ground, open, links, done }
    }

    fn enter(&mut self, entry: &Entry<'_>) -> Result<()> {
        if self.manner.without == Some((entry.stat.st_dev, entry.stat.st_ino)) {
            return Err(Error::new(format!(
                "'{}' can't be copied into itself",
                self.from.path().display()
            )));
        }
        let new = match self.open.last() {
            None => self.to.open_at(Path::new(""), DIRECTORY, Mode::empty()),
            Some(parent) => fs::mkdirat(parent, entry.name, Mode::RWXU)
                .and_then(|()| fs::openat(parent, entry.name, DIRECTORY, Mode::empty())),
        };
        let new = new.map_err(|cause| self.to.error("create directory", entry.path, cause))?;
        self.open.push(new);
        self.done.files += 1;
        Ok(())
    }

    /// Its own properties come last: it may be closed to writing, and its time
    /// changes with every file that is made in it.
    fn leave(&mut self, mut stat: Stat, mut attributes: Attributes, path: &Path) -> Result<()> {
        let Some(directory) = self.open.pop() else { return Ok(()) };
        (self.manner.change)(path, &mut stat, &mut attributes);
        let given = attributes::give(&directory, &stat, &attributes);
        self.note(given, path)
    }

    fn file(&mut self, entry: &Entry<'_>) -> Result<()> {
        let unread = |cause| self.from.error("read", entry.path, cause);
        let pinned = match entry.pin() {
            Err(cause) if self.ground.has_gone(cause) => return self.pass(entry, Passed::Gone),
            other => other.map_err(unread)?,
        };
        if self.ground.mounts && kernel::owns(&pinned.file).map_err(unread)? {
            return self.pass(entry, Passed::Kernel);
        }
        let kind = FileType::from_raw_mode(pinned.stat.st_mode);
        if kind == FileType::Directory {
            if self.ground.moving {
                return self.pass(entry, Passed::Gone);
            }
            return Err(unread(Errno::ISDIR));
        }
        let mut stat = pinned.stat;
        let mut attributes = read(pinned.file.as_fd(), self.manner.ground).map_err(unread)?;
        if !(self.manner.change)(entry.path, &mut stat, &mut attributes) {
            return Ok(());
        }
        self.done.files += 1;
        let written = |cause: io::Error| Error::path("write", &self.to.shown(entry.path), cause);
        let Some(parent) = self.open.last() else { return Ok(()) };
        let identity = (pinned.stat.st_dev, pinned.stat.st_ino);
        if pinned.stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                return self.link(first, parent, entry.name).map_err(|cause| written(cause.into()));
            }
            self.links.insert(identity, entry.path.to_owned());
        }
        let new = match kind {
            FileType::RegularFile => {
                let from = pinned.open_leased(self.manner.check).map_err(|cause| {
                    let unread = walk::unread(self.from, entry.path, cause);
                    (self.manner.check)().err().unwrap_or(unread)
                })?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let to = fs::openat(parent, entry.name, flags, Mode::RUSR)
                    .map_err(|cause| written(cause.into()))?;
                let (from, to) = (File::from(from), File::from(to));
                let length = u64::try_from(pinned.stat.st_size).unwrap_or_default();
                match content::copy(&from, &to, length, self.manner.check) {
                    Ok(How::Shared) => self.done.shared += 1,
                    Ok(How::Copied) => self.done.copied += 1,
                    Err(cause) => {
                        (self.manner.check)()?;
                        return Err(written(cause));
                    }
                }
                to.into()
            }
            _ => match special(&pinned, kind, parent.as_fd(), entry.name) {
                // In an overlay nobody can make one.
                Err(Errno::PERM) if is_whiteout(&pinned.stat) => {
                    self.links.remove(&identity);
                    return self.pass(entry, Passed::Whiteout);
                }
                other => other.map_err(|cause| written(cause.into()))?,
            },
        };
        let given = attributes::give(&new, &stat, &attributes);
        self.note(given, entry.path)
    }

    fn pass(&self, entry: &Entry<'_>, why: Passed) -> Result<()> {
        (self.manner.passed)(entry.path, why);
        Ok(())
    }

    fn link(&self, first: &Path, parent: impl AsFd, name: &OsStr) -> Result<(), Errno> {
        let (above, first) = self.to.open_parent(first)?;
        fs::linkat(&above, first, parent, name, AtFlags::empty())
    }

    fn note(&mut self, given: Result<bool, Errno>, path: &Path) -> Result<()> {
        let all =
            given.map_err(|cause| self.to.error("set the owner and attributes of", path, cause))?;
        self.done.without_attributes += u64::from(!all);
        Ok(())
    }
}

fn read(file: BorrowedFd<'_>, ground: Ground) -> Result<Attributes, Errno> {
    if ground.moving { Attributes::read_moving(file) } else { Attributes::read(file) }
}

/// Makes what has no bytes, and opens what has come of it.
fn special(
    pinned: &Pinned,
    kind: FileType,
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> Result<OwnedFd, Errno> {
    if kind == FileType::Symlink {
        let target = fs::readlinkat(&pinned.file, "", Vec::new())?;
        fs::symlinkat(target, parent, name)?;
    } else {
        fs::mknodat(parent, name, kind, Mode::RUSR, pinned.stat.st_rdev)?;
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = fs::openat(parent, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fs::fstat(&made)?.st_mode) != kind {
        // Somebody else has made something else of it.
        return Err(Errno::STALE);
    }
    Ok(made)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
