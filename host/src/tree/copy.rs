//! Copies a tree into an empty directory, so that no tool finds a difference.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::Check;
use super::attributes::{self, Attributes};
use super::content::{self, How};
use super::walk::{Entry, Step, walk};

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

/// Copies everything below `from` into `to`, an empty directory that nobody
/// else can reach. `at` is told how many names are done.
///
/// # Errors
/// When something can't be read or written, something is mounted inside, or
/// `check` says no. What was copied until then is left to the caller.
pub fn copy(from: &RootDir, to: &RootDir, check: Check<'_>, at: impl FnMut(u64)) -> Result<Copied> {
    copy_changed(from, to, check, &|_, _, _| true, at)
}

/// The same with changes.
///
/// # Errors
/// As [`copy`].
pub fn copy_changed(
    from: &RootDir,
    to: &RootDir,
    check: Check<'_>,
    change: Change<'_>,
    mut at: impl FnMut(u64),
) -> Result<Copied> {
    let mut copying = Copying {
        from,
        to,
        check,
        change,
        open: Vec::new(),
        links: BTreeMap::new(),
        done: Copied::default(),
    };
    walk(from, check, |step| {
        match step {
            Step::Enter(entry, None) => copying.file(&entry)?,
            Step::Enter(entry, Some(_)) => copying.enter(&entry)?,
            Step::Leave(directory, stat, path) => {
                let attributes = Attributes::read(directory, OsStr::new(""))
                    .map_err(|cause| from.error("read", path, cause))?;
                copying.leave(*stat, attributes, path)?;
            }
        }
        at(copying.done.files);
        Ok(())
    })?;
    Ok(copying.done)
}

struct Copying<'a> {
    from: &'a RootDir,
    to: &'a RootDir,
    check: Check<'a>,
    change: Change<'a>,
    /// The new directories on the way, the root's first.
    open: Vec<OwnedFd>,
    /// Where the first name of a file with several is, by device and inode.
    links: BTreeMap<(u64, u64), PathBuf>,
    done: Copied,
}

impl Copying<'_> {
    fn enter(&mut self, entry: &Entry<'_>) -> Result<()> {
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
        (self.change)(path, &mut stat, &mut attributes);
        let given = attributes::give(&directory, OsStr::new(""), &stat, &attributes);
        self.note(given, path)
    }

    fn file(&mut self, entry: &Entry<'_>) -> Result<()> {
        let mut stat = *entry.stat;
        let mut attributes = Attributes::read(entry.parent, entry.name)
            .map_err(|cause| self.from.error("read", entry.path, cause))?;
        if !(self.change)(entry.path, &mut stat, &mut attributes) {
            return Ok(());
        }
        self.done.files += 1;
        let written = |cause: io::Error| Error::path("write", &self.to.shown(entry.path), cause);
        let Some(parent) = self.open.last() else { return Ok(()) };
        let identity = (entry.stat.st_dev, entry.stat.st_ino);
        if entry.stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                return self.link(first, parent, entry.name).map_err(|cause| written(cause.into()));
            }
            self.links.insert(identity, entry.path.to_owned());
        }
        match entry.kind() {
            FileType::RegularFile => {
                let from = entry.open().map_err(|c| self.from.error("open", entry.path, c))?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let to = fs::openat(parent, entry.name, flags, Mode::RUSR)
                    .map_err(|cause| written(cause.into()))?;
                let length = u64::try_from(entry.stat.st_size).unwrap_or_default();
                match content::copy(&File::from(from), &File::from(to), length, self.check) {
                    Ok(How::Shared) => self.done.shared += 1,
                    Ok(How::Copied) => self.done.copied += 1,
                    Err(cause) => {
                        (self.check)()?;
                        return Err(written(cause));
                    }
                }
            }
            FileType::Symlink => {
                let target = fs::readlinkat(entry.parent, entry.name, Vec::new())
                    .map_err(|cause| self.from.error("read link", entry.path, cause))?;
                fs::symlinkat(target, parent, entry.name).map_err(|c| written(c.into()))?;
            }
            kind => {
                fs::mknodat(parent, entry.name, kind, Mode::RUSR, entry.stat.st_rdev)
                    .map_err(|cause| written(cause.into()))?;
            }
        }
        let given = attributes::give(parent, entry.name, &stat, &attributes);
        self.note(given, entry.path)
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

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
