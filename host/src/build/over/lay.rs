//! What a guest's tree has that a base hasn't, as a layer over it
//! (Documentation/filesystems/overlayfs.rst): together they are the tree.
//!
//! No byte is copied. What differs is one more name of the guest's own file;
//! directories are made where one differs, or something in it; what the base has
//! and the guest hasn't is a whiteout, a device 0:0. A directory in place of
//! something else hides that by itself, so none has to be opaque.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::build::kind_of;
use crate::config::Excluded;
use crate::error::{Error, Result};
use crate::fsroot::{RootDir, names_in};
use crate::tree::{self, Attributes, Check, Entry, Ground, Pinned, Step, walk};
use crate::unify::own_bytes;

use super::Laid;
use super::compare::{is_alike, is_fixed, is_same, may_be_same, misread};

/// Longer paths belong to files that are kept without a look at patterns.
const LONGEST: usize = 4096;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is laid over what.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    /// The guest's tree, at rest.
    pub(super) mine: &'a RootDir,
    /// Nobody writes to it.
    pub(super) base: &'a RootDir,
    /// An empty directory, on the file system of the tree; when not given,
    /// nothing is made.
    pub(super) upper: Option<&'a RootDir>,
    /// What stays the guest's own.
    pub(super) excluded: &'a Excluded,
    /// Asked between two files, and in long ones.
    pub(super) check: Check<'a>,
}

impl Layer<'_> {
    /// Makes it. `at` is told how many names are done.
    ///
    /// # Errors
    /// When something can't be read or made, would mean something else in a
    /// layer, or `check` says no. What was made until then is left to the caller.
    pub(super) fn make(self, mut at: impl FnMut(u64)) -> Result<Laid> {
        let mut making = Making { of: self, levels: Vec::new(), laid: Laid::default() };
        let mut names = 0;
        walk(self.mine, self.check, |step| {
            names += 1;
            at(names);
            match step {
                Step::Enter(entry, Some(_)) => making.enter(&entry),
                Step::Enter(entry, None) => making.file(&entry),
                Step::Leave(directory, stat, path) => making.leave(directory, stat, path),
                Step::Passed(..) => Ok(()),
            }
        })?;
        Ok(making.laid)
    }
}

/// A directory on the way.
struct Level {
    name: OsString,
    /// The base's one of that path.
    base: Option<OwnedFd>,
    /// Names that the base has in it, and that the guest wasn't seen to have.
    rest: BTreeSet<OsString>,
    /// The new one, once there is something for it.
    made: Option<OwnedFd>,
}

struct Making<'a> {
    of: Layer<'a>,
    levels: Vec<Level>,
    laid: Laid,
}

impl Making<'_> {
    fn enter(&mut self, entry: &Entry<'_>) -> Result<()> {
        let is_root = self.levels.is_empty();
        let below = if is_root { Some(self.top()?) } else { self.below(entry)? };
        let mine = self.own(entry)?.1;
        let below = below.filter(|it| kind_of(&it.stat) == FileType::Directory);
        let theirs = below.as_ref().map(|it| self.bases(it, entry.path)).transpose()?;
        let is_same = below
            .as_ref()
            .zip(theirs)
            .is_some_and(|(below, theirs)| is_alike(entry.stat, &below.stat) && mine == theirs);
        let unread = |cause| self.of.base.error("read", entry.path, cause);
        let base = below.map(|it| fs::openat(&it.file, ".", DIRECTORY, Mode::empty()));
        let base = base.transpose().map_err(unread)?;
        let names = base.as_ref().map(names_in).transpose().map_err(unread)?;
        let rest = names.unwrap_or_default().into_iter().collect();
        self.levels.push(Level { name: entry.name.to_owned(), base, rest, made: None });
        if is_root || !is_same { self.need(entry.path) } else { Ok(()) }
    }

    fn file(&mut self, entry: &Entry<'_>) -> Result<()> {
        let below = self.below(entry)?;
        let (mine, attributes) = self.own(entry)?;
        let is_file = kind_of(&mine.stat) == FileType::RegularFile;
        self.laid.files += u64::from(is_file);
        if let Some(below) = below.filter(|it| may_be_same(&mine.stat, &it.stat))
            && !self.is_excluded(entry.path)
            && self.bases(&below, entry.path)? == attributes
            && is_same(&mine, &below, self.of.check)?
                .map_err(|cause| Error::path("read", &self.of.mine.shown(entry.path), cause))?
        {
            self.laid.note(&mine);
            return Ok(());
        }
        self.laid.left_files += u64::from(is_file);
        self.need(entry.path)?;
        let Some(directory) = self.levels.last().and_then(|level| level.made.as_ref()) else {
            return Ok(());
        };
        fs::linkat(entry.parent, entry.name, directory, entry.name, AtFlags::empty())
            .map_err(|cause| self.of.mine.error("give a second name to", entry.path, cause))
    }

    /// What is still to be said of a directory, and its own properties: its time
    /// changes with every name that is made in it.
    fn leave(&mut self, directory: BorrowedFd<'_>, stat: &Stat, path: &Path) -> Result<()> {
        let rest = self.levels.last_mut().map(|level| std::mem::take(&mut level.rest));
        for name in rest.unwrap_or_default() {
            self.need(path)?;
            let Some(made) = self.levels.last().and_then(|level| level.made.as_ref()) else {
                break;
            };
            fs::mknodat(made, &name, FileType::CharacterDevice, Mode::empty(), 0).map_err(
                |cause| self.of.mine.error("make a whiteout for", &path.join(&name), cause),
            )?;
        }
        let Some(made) = self.levels.pop().and_then(|level| level.made) else { return Ok(()) };
        let failed = |cause| self.of.mine.error("copy the attributes of", path, cause);
        let attributes = own_attributes(directory, path).map_err(failed)?;
        let is_given = tree::give(&made, stat, &attributes).map_err(failed)?;
        if is_given { Ok(()) } else { Err(failed(Errno::OPNOTSUPP)) }
    }

    /// Makes the directory that is walked, and those above it.
    fn need(&mut self, path: &Path) -> Result<()> {
        let Some(upper) = self.of.upper else { return Ok(()) };
        let mut above: Option<&OwnedFd> = None;
        for level in &mut self.levels {
            if level.made.is_none() {
                let made = match above {
                    None => upper.open_at(Path::new(""), DIRECTORY, Mode::empty()),
                    Some(above) => fs::mkdirat(above, &level.name, Mode::RWXU)
                        .and_then(|()| fs::openat(above, &level.name, DIRECTORY, Mode::empty())),
                };
                let failed = |cause| self.of.mine.error("make a directory for", path, cause);
                level.made = Some(made.map_err(failed)?);
            }
            above = level.made.as_ref();
        }
        Ok(())
    }

    /// The base's root.
    fn top(&self) -> Result<Pinned> {
        let base = self.of.base;
        tree::pin(base.as_fd(), Path::new("."), Ground::default())
            .map_err(|cause| base.error("read", Path::new(""), cause))
    }

    /// What the base has of that name.
    fn below(&mut self, entry: &Entry<'_>) -> Result<Option<Pinned>> {
        let Some(level) = self.levels.last_mut() else { return Ok(None) };
        let is_there = level.rest.remove(entry.name);
        let Some(base) = level.base.as_ref().filter(|_| is_there) else { return Ok(None) };
        tree::pin(base.as_fd(), Path::new(entry.name), Ground::default())
            .map(Some)
            .map_err(|cause| self.of.base.error("read", entry.path, cause))
    }

    /// The guest's file and its attributes, if it can be in a layer.
    fn own(&self, entry: &Entry<'_>) -> Result<(Pinned, Attributes)> {
        let unread = |cause| self.of.mine.error("read", entry.path, cause);
        let pinned = entry.pin().map_err(unread)?;
        let attributes = own_attributes(pinned.file.as_fd(), entry.path).map_err(unread)?;
        fits(self.of.mine, entry.path, &pinned, &attributes)?;
        Ok((pinned, attributes))
    }

    /// The attributes of what the base has, if it is what it is in a layer.
    fn bases(&self, below: &Pinned, path: &Path) -> Result<Attributes> {
        let unread = |cause| self.of.base.error("read", path, cause);
        let attributes = own_attributes(below.file.as_fd(), path).map_err(unread)?;
        fits(self.of.base, path, below, &attributes)?;
        Ok(attributes)
    }

    fn is_excluded(&self, path: &Path) -> bool {
        path.as_os_str().as_bytes().len() > LONGEST || self.of.excluded.has(&path.to_string_lossy())
    }
}

/// # Errors
/// When in a layer it would be taken for something else, or it can't become part
/// of one.
fn fits(root: &RootDir, path: &Path, file: &Pinned, attributes: &Attributes) -> Result<()> {
    let refused = |why: &str, hint: &str| {
        let shown = root.shown(path).display().to_string();
        Error::new(format!("'{}' is {why}", shown.escape_debug())).hint(hint)
    };
    if let Some(why) = misread(&file.stat, attributes) {
        return Err(refused(why, "remove it, if nobody needs it"));
    }
    match is_fixed(file.file.as_fd()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(refused(
            "immutable or append-only, so that it can't leave its place",
            "'chattr -ia' takes that away",
        )),
        Err(cause) => Err(root.error("read", path, cause)),
    }
}

/// Attributes as they are in the guest: what the host notes at a root is left
/// out.
fn own_attributes(file: BorrowedFd<'_>, path: &Path) -> Result<Attributes, Errno> {
    let mut attributes = Attributes::read(file)?;
    if path.as_os_str() == OsStr::new("") {
        attributes.change(|name, value| {
            (!name.starts_with(b"trusted.vserver.")).then(|| value.to_owned())
        });
    }
    Ok(attributes)
}

impl Laid {
    /// A file or link that is the base's from now on.
    fn note(&mut self, mine: &Pinned) {
        if kind_of(&mine.stat) != FileType::RegularFile {
            return;
        }
        self.base_files += 1;
        self.base_bytes += u64::try_from(mine.stat.st_size).unwrap_or_default();
        let own = mine.open().ok().and_then(|file| own_bytes(file.as_fd()).ok());
        self.saved_bytes += own.unwrap_or_default();
    }
}
