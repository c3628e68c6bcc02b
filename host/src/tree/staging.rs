//! A directory of our own beside the place of what is copied, in a directory
//! that others may write to. A copy is made in there, and put in its place by
//! rename(2) when it is whole: nobody sees a half one, and nobody but root, that
//! is a guest's root if it is the guest's, can touch it until then.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::unistd::{Uid, setfsuid};
use rustix::fs::{
    self, AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags, Stat, StatxAttributes,
    StatxFlags,
};
use rustix::io::Errno;

use crate::error::{Error, Result, told};
use crate::fsroot::{RootDir, names_in, remove_tree};
use crate::store;

use super::copy::{Manner, copy, copy_name};
use super::kernel;
use super::room::Room;

/// How these directories are called, before a number.
const PREFIX: &str = ".vserver-cp-";

/// The permissions of everybody but the owner (inode(7)).
const OTHERS: u32 = 0o077;

/// Names that are tried before it is given up.
const ATTEMPTS: u32 = 100;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The name, in itself, of what is made in it.
const COPY: &str = "copy";

/// What became of a copy's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Names that have their place, directories with all that is in them
    /// counted as one.
    pub put: u64,
    /// Names that were there and were to be left alone.
    pub left: u64,
}

/// The directory; with all that is in it, it goes when this is dropped.
#[derive(Debug)]
pub struct Staging<'a> {
    target: &'a RootDir,
    name: OsString,
    /// Holds a lock as well: whoever finds no holder may remove it.
    directory: RootDir,
    /// Are names that exist in the target left alone?
    keeps: bool,
}

impl<'a> Staging<'a> {
    /// Makes one in this directory. What killed ones have left there goes.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn make(target: &'a RootDir, keeps: bool) -> Result<Self> {
        let failed = |cause| target.error("create a directory in", Path::new(""), cause);
        sweep(target).map_err(failed)?;
        let number = std::process::id();
        for attempt in 0..ATTEMPTS {
            let name = OsString::from(format!("{PREFIX}{number}-{attempt}"));
            match fs::mkdirat(target, &name, Mode::RWXU) {
                Err(Errno::EXIST) => continue,
                other => other.map_err(failed)?,
            }
            // Somebody who sweeps may come between, and takes it for a left one.
            let directory = match open_below(target.as_fd(), &name) {
                Err(Errno::NOENT) => continue,
                other => other.map_err(failed)?,
            };
            let locked = fs::flock(&directory, FlockOperation::NonBlockingLockExclusive);
            if locked == Err(Errno::WOULDBLOCK) || !is_at(target, &name, &directory) {
                continue;
            }
            // In words, what is written to is the target.
            let directory = RootDir::from_fd(directory, target.path());
            return Ok(Self { target, name, directory, keeps });
        }
        Err(failed(Errno::EXIST))
    }

    /// The directory itself, for whoever fills it by other means.
    pub fn directory(&self) -> &RootDir {
        &self.directory
    }

    /// The directory in it that is to be called `shown`. It may be given any
    /// owner and permissions: the one around it stays closed.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn inner(&self, shown: &Path) -> Result<RootDir> {
        let made = fs::mkdirat(&self.directory, COPY, Mode::RWXU)
            .and_then(|()| open_below(self.directory.as_fd(), OsStr::new(COPY)));
        let made = made.map_err(|cause| self.target.error("create directory", shown, cause))?;
        Ok(RootDir::from_fd(made, self.target.shown(shown)))
    }

    /// Copies one name that is no directory.
    ///
    /// # Errors
    /// As [`copy_name`].
    pub fn copy_file(
        &self,
        from: &RootDir,
        name: &OsStr,
        manner: &Manner<'_>,
    ) -> Result<super::Copied> {
        copy_name(from, name, &self.directory, &self.without(manner)?)
    }

    /// Copies a directory, which is to be called `shown`.
    ///
    /// # Errors
    /// As [`copy`].
    pub fn copy_directory(
        &self,
        from: &RootDir,
        shown: &Path,
        manner: &Manner<'_>,
        at: impl FnMut(u64),
    ) -> Result<super::Copied> {
        let to = self.inner(shown)?;
        copy(from, &to, &self.without(manner)?, at)
    }

    fn without<'m>(&self, manner: &Manner<'m>) -> Result<Manner<'m>> {
        let stat = fs::fstat(&self.directory)
            .map_err(|cause| self.target.error("examine", Path::new(""), cause))?;
        Ok(Manner { without: Some((stat.st_dev, stat.st_ino)), ..*manner })
    }

    /// Puts the one copy that was made in its place, called `name`: in place of
    /// a file of that name; a directory into one that is there.
    ///
    /// # Errors
    /// When a directory would take the place of something else, or the other
    /// way round, which is found out before anything is put in place; and when
    /// the system refuses, which leaves what was put in place until then.
    pub fn place(self, name: &OsStr, check: super::Check<'_>) -> Result<Placed> {
        let _room = Room::make();
        let mut placed = Placed::default();
        for staged in self.names()? {
            self.put_name(&staged, name, check, &mut placed)?;
        }
        Ok(placed)
    }

    /// Puts what is in the directory that was copied into the target itself.
    ///
    /// # Errors
    /// As [`Staging::place`].
    pub fn place_content(self, check: super::Check<'_>) -> Result<Placed> {
        let _room = Room::make();
        let failed = |cause| self.target.error("write", Path::new(""), cause);
        let copied = open_below(self.directory.as_fd(), OsStr::new(COPY)).map_err(failed)?;
        let mut placed = Placed::default();
        let names = names_in(&copied).map_err(failed)?;
        for name in &names {
            fits(copied.as_fd(), name, self.target)?;
        }
        for name in &names {
            self.put(copied.as_fd(), name, self.target, check, &mut placed)?;
        }
        Ok(placed)
    }

    fn names(&self) -> Result<Vec<OsString>> {
        let failed = |cause| self.target.error("write", Path::new(""), cause);
        let directory = open_below(self.directory.as_fd(), OsStr::new(".")).map_err(failed)?;
        names_in(&directory).map_err(failed)
    }

    fn put_name(
        &self,
        staged: &OsStr,
        name: &OsStr,
        check: super::Check<'_>,
        placed: &mut Placed,
    ) -> Result<()> {
        // What is made under one name gets the other one here, where nobody
        // looks, so that from now on both have the same.
        let here = self.directory.as_fd();
        if staged != name {
            fs::renameat(here, staged, here, name)
                .map_err(|cause| self.target.error("write", Path::new(name), cause))?;
        }
        fits(here, name, self.target)?;
        self.put(here, name, self.target, check, placed)
    }

    /// Puts one name of a staged directory into another directory.
    fn put(
        &self,
        staged: BorrowedFd<'_>,
        name: &OsStr,
        into: &RootDir,
        check: super::Check<'_>,
        placed: &mut Placed,
    ) -> Result<()> {
        let failed = |cause| into.error("write", Path::new(name), cause);
        let ours = stat_of(staged, name).map_err(failed)?;
        let theirs = stat_of(into.as_fd(), name);
        if is_directory(ours.as_ref()) && is_directory(theirs.map_err(failed)?.as_ref()) {
            let below = open_below(staged, name).map_err(failed)?;
            let other = open_in(into, name)?;
            for name in names_in(&below).map_err(failed)? {
                self.put(below.as_fd(), &name, &other, check, placed)?;
            }
            return Ok(());
        }
        let renamed = match self.keeps {
            true => store::rename_new((staged, Path::new(name)), (into, Path::new(name))),
            false => fs::renameat(staged, name, into, name),
        };
        match renamed {
            Ok(()) => placed.put += 1,
            Err(Errno::EXIST) if self.keeps => placed.left += 1,
            // Something is mounted on the way: another file system, on which it
            // has to be made anew.
            Err(Errno::XDEV) => self.over(staged, name, into, check, placed)?,
            Err(cause) => return Err(failed(cause)),
        }
        Ok(())
    }

    /// The same, to another file system.
    fn over(
        &self,
        staged: BorrowedFd<'_>,
        name: &OsStr,
        into: &RootDir,
        check: super::Check<'_>,
        placed: &mut Placed,
    ) -> Result<()> {
        let failed = |cause| into.error("write", Path::new(name), cause);
        let there = Staging::make(into, self.keeps)?;
        let manner = Manner::plain(check);
        let shown = into.path();
        let from = open_below(staged, OsStr::new(".")).map_err(failed)?;
        let from = RootDir::from_fd(from, shown);
        if is_directory(stat_of(staged, name).map_err(failed)?.as_ref()) {
            let from =
                RootDir::from_fd(open_below(staged, name).map_err(failed)?, shown.join(name));
            there.copy_directory(&from, Path::new(name), &manner, |_| {})?;
        } else {
            there.copy_file(&from, name, &manner)?;
        }
        let more = there.place(name, check)?;
        placed.put += more.put;
        placed.left += more.left;
        Ok(())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // Nobody is left to tell; the next copy to this place tries again.
        let _ = remove_tree(self.target, &self.name);
    }
}

/// Can files be put into this directory?
///
/// # Errors
/// When it lies in /proc or the like, or is append-only.
pub fn check_place(directory: &RootDir) -> Result<()> {
    let there = Path::new("");
    if kernel::owns(directory).map_err(|cause| directory.error("examine", there, cause))? {
        return Err(Error::new(format!(
            "'{}' is the kernel's own, and holds no files that could be copied",
            directory.path().display()
        )));
    }
    // What is made there to be put in its place would stay.
    let found = fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::empty());
    if found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::APPEND)) {
        let text = format!("'{}' is append-only", told(directory.path()));
        return Err(Error::new(text).hint("'chattr -a' on the host lets files be copied there"));
    }
    Ok(())
}

/// # Errors
/// When a directory meets something else below.
fn fits(staged: BorrowedFd<'_>, name: &OsStr, into: &RootDir) -> Result<()> {
    let failed = |cause| into.error("write", Path::new(name), cause);
    let ours = is_directory(stat_of(staged, name).map_err(failed)?.as_ref());
    let Some(theirs) = stat_of(into.as_fd(), name).map_err(failed)? else { return Ok(()) };
    let shown = into.shown(Path::new(name));
    match (ours, is_directory(Some(&theirs))) {
        (false, false) => Ok(()),
        (false, true) => Err(Error::new(format!(
            "'{}' is a directory, and no file can take its place",
            shown.display()
        ))),
        (true, false) => Err(Error::new(format!(
            "'{}' is no directory, and none can take its place",
            shown.display()
        ))),
        (true, true) => {
            let below = open_below(staged, name).map_err(failed)?;
            let other = open_in(into, name)?;
            let names = names_in(&below).map_err(failed)?;
            names.iter().try_for_each(|name| fits(below.as_fd(), name, &other))
        }
    }
}

fn stat_of(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn is_directory(stat: Option<&Stat>) -> bool {
    stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// A directory in another one, no link followed. What is mounted there counts.
fn open_below(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    fs::openat2(parent, name, DIRECTORY, Mode::empty(), how)
}

/// The same for one that files are put into.
fn open_in(parent: &RootDir, name: &OsStr) -> Result<RootDir> {
    let opened = open_below(parent.as_fd(), name);
    let name = Path::new(name);
    let opened = opened.map_err(|cause| parent.error("open", name, cause))?;
    let opened = RootDir::from_fd(opened, parent.shown(name));
    check_place(&opened)?;
    Ok(opened)
}

/// Has this directory that name?
fn is_at(target: &RootDir, name: &OsStr, directory: &OwnedFd) -> bool {
    let named = fs::statat(target, name, AtFlags::SYMLINK_NOFOLLOW);
    let same = |one: Stat, other: Stat| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino);
    named.is_ok_and(|named| fs::fstat(directory).is_ok_and(|own| same(named, own)))
}

/// Removes what killed copies have left in a directory: what is called so, is this
/// user's, and can't be looked into by others.
///
/// # Errors
/// Those of reading it.
pub fn sweep(target: &RootDir) -> Result<(), Errno> {
    let directory = open_below(target.as_fd(), OsStr::new("."))?;
    // What can be no number changes nothing, and tells which counts (setfsuid(2)).
    let owner = setfsuid(Uid::from_raw(u32::MAX)).as_raw();
    for name in names_in(&directory)?.into_iter().filter(|name| is_staging(name)) {
        let Ok(left) = open_below(directory.as_fd(), &name) else { continue };
        let is_own = |stat: Stat| stat.st_uid == owner && stat.st_mode & OTHERS == 0;
        if !fs::fstat(&left).is_ok_and(is_own) {
            continue;
        }
        // Whoever holds the lock lives. Who lets go of it has removed its
        // directory, and the name may be another one's by now.
        let free = fs::flock(&left, FlockOperation::NonBlockingLockExclusive).is_ok();
        if free && is_at(target, &name, &left) {
            let _ = remove_tree(&directory, &name);
        }
    }
    Ok(())
}

/// Has it a name that [`Staging::make`] gives?
fn is_staging(name: &OsStr) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let numbers = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
    numbers.is_some_and(|(one, other)| is_number(one) && is_number(other))
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
