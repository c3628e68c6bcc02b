//! Lays the entries of a hostile archive into a root.
//!
//! Names are taken apart here: `..` ends the extraction, a leading `/` is
//! dropped. Directories are found by the kernel inside the root, so that a
//! link that an earlier entry has made leads nowhere else. An existing name
//! is removed before it is made anew, never written through.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Bound;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::build::layout;
use crate::error::{Error, Result};
use crate::fsroot::{RootDir, open_beneath, remove_tree};
use crate::interrupt::Interrupt;
use crate::tree::DEEPEST;

use super::acl;
use super::entry::{Content, Entry, Kind};
use super::fill;
use super::left_out::{LeftOut, shown};
use super::lists::Lists;
use super::metadata::Metadata;
use super::shift::Shift;

/// Blocks of zeros of this size become holes.
const BLOCK: usize = 4096;

/// Nothing but directories of the root's own.
const ON_THE_WAY: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// So much of a path that is too long is shown.
const SHOWN: usize = 60;

/// No name is longer (linux/limits.h, NAME_MAX).
const LONGEST_NAME: usize = 255;

/// Paths up to this length may be remembered, one for each file that is made. What is
/// beyond, and access lists, are counted.
const ORDINARY: usize = 1024;

/// Bytes of these that are remembered.
const MOST_KEPT: usize = 1 << 30;

/// Names that were left out and are remembered. Another name of one that isn't finds
/// nothing, and ends the extraction.
const MOST_ABSENT: usize = 1 << 20;

/// Why device nodes aren't extracted.
const DEVICES: &str = "device nodes are left out";

/// Extracts entry by entry.
pub(in crate::build) struct Extractor<'a> {
    root: &'a RootDir,
    interrupt: &'a Interrupt,
    /// By how much owners are shifted; found out from the first entry if
    /// `None`.
    shift: Option<Shift>,
    /// It isn't given, and may be told later by a root behind other files.
    seeks_shift: bool,
    /// Layers of an image replace links by directories, archives of a system
    /// leave them, as dpkg and `tar --keep-directory-symlink` do: /lib stays
    /// a link to usr/lib.
    keeps_links: bool,
    /// Attributes that only the host's root sees are taken over, too.
    is_faithful: bool,
    /// Names that this layer has made.
    made: BTreeSet<PathBuf>,
    /// Set at the end: a directory may be closed to writing, and its time
    /// changes with every file that is made in it.
    directories: BTreeMap<PathBuf, Metadata>,
    /// Access lists with names of users, who may come in later.
    lists: Lists,
    left_out: LeftOut,
    /// Names that were left out, whose further names are so, too, by their hashes.
    absent: BTreeSet<u64>,
    /// Bytes that are remembered until the end ([`MOST_KEPT`]).
    kept: usize,
}

impl<'a> Extractor<'a> {
    /// Extracts into this root; `shift` is found out when it isn't given.
    pub(in crate::build) fn new(
        root: &'a RootDir,
        interrupt: &'a Interrupt,
        shift: Option<Shift>,
    ) -> Self {
        Self {
            root,
            interrupt,
            shift,
            seeks_shift: shift.is_none(),
            keeps_links: true,
            is_faithful: false,
            made: BTreeSet::new(),
            directories: BTreeMap::new(),
            lists: Lists::default(),
            left_out: LeftOut::default(),
            absent: BTreeSet::new(),
            kept: 0,
        }
    }

    /// For what the host itself has written: `trusted.` attributes (xattr(7)) are
    /// kept, and a directory takes the place of a link.
    pub(in crate::build) fn faithful(mut self) -> Self {
        self.is_faithful = true;
        self
    }

    /// From now on, entries are a layer of an image.
    pub(in crate::build) fn begin_layer(&mut self) {
        self.keeps_links = false;
        self.made.clear();
    }

    /// Where it extracts to.
    pub(super) fn root(&self) -> &'a RootDir {
        self.root
    }

    /// Has this layer made that name, or something below it?
    pub(super) fn is_of_this_layer(&self, path: &Path) -> bool {
        let from = (Bound::Included(path), Bound::Unbounded);
        let mut from = self.made.range::<Path, _>(from);
        from.next().is_some_and(|made| made.starts_with(path))
    }

    /// A name is gone, with all below it, which comes next in the order of paths.
    pub(super) fn forget(&mut self, path: &Path) {
        let from = (Bound::Included(path), Bound::Unbounded);
        let below = self.directories.range::<Path, _>(from).map(|(other, _)| other);
        let below: Vec<_> = below.take_while(|other| other.starts_with(path)).cloned().collect();
        for other in below {
            self.directories.remove(&other);
        }
    }

    /// Removes a name with all below it, if there is one. It has none on the way
    /// that is a link.
    pub(in crate::build) fn remove(&mut self, name: &[u8]) -> Result<()> {
        let path = inside(name)?;
        let (Some(last), Some(above)) = (path.file_name(), path.parent()) else {
            return Err(Error::new("it removes the root itself"));
        };
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = open_beneath(self.root.as_fd(), above, flags, Mode::empty(), ON_THE_WAY);
        let removed = match parent {
            // What it was in wasn't taken over.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other.and_then(|parent| remove_tree(&parent, last)),
        };
        removed.map_err(|cause| self.root.error("remove", &path, cause))?;
        self.forget(&path);
        Ok(())
    }

    /// By how much owners were shifted, if they were.
    pub(in crate::build) fn shift(&self) -> Option<Shift> {
        self.shift.filter(|shift| *shift != Shift::default())
    }

    /// Extracts one entry, whose bytes are in `data`.
    pub(in crate::build) fn extract(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<()> {
        let path = inside(&entry.name)?;
        let result = self.extract_kind(entry, data, &path);
        result.map_err(|error| error.context(format_args!("entry {}", shown(&path))))?;
        if !self.keeps_links && !matches!(entry.kind, Kind::Device | Kind::Other) {
            self.made.insert(path);
        }
        Ok(())
    }

    /// Counts what is remembered of an entry.
    fn count_kept(&mut self, entry: &Entry, path: &Path) -> Result<()> {
        let lists: usize = entry.lists.iter().map(|(_, list)| acl::size(list)).sum();
        let is_kept = entry.kind == Kind::Directory || lists > 0 || !self.keeps_links;
        if !is_kept {
            return Ok(());
        }
        self.kept += path.as_os_str().len().saturating_sub(ORDINARY) + lists;
        if self.kept > MOST_KEPT {
            return Err(Error::new("the archive's names and access lists are too long together"));
        }
        Ok(())
    }

    fn extract_kind(&mut self, entry: &Entry, data: &mut dyn Read, path: &Path) -> Result<()> {
        self.count_kept(entry, path)?;
        let shift = self.find_shift(entry, path);
        let (mut metadata, is_foreign) = Metadata::new(entry, shift);
        if is_foreign {
            self.left_out.add("owners beyond a guest's 65536 ids became nobody", path);
        }
        if !self.is_faithful && metadata.drop_trusted() || entry.has_more {
            self.left_out.add("some attributes are left out", path);
        }
        // A link has none: whoever follows it is asked for those of where it leads.
        if !matches!(entry.kind, Kind::Symlink(_) | Kind::HardLink(_)) {
            self.lists.give(entry, path, shift, &mut metadata);
        }
        if entry.kind == Kind::Directory {
            return self.directory(path, metadata);
        }
        if path.as_os_str().is_empty() {
            return Err(Error::new("the root itself is no directory"));
        }
        match &entry.kind {
            Kind::File(content) => self.file(content, data, path, &metadata),
            Kind::Symlink(target) => self.symlink(target, path, &metadata),
            Kind::HardLink(target) => self.hard_link(target, path),
            Kind::Fifo => self.special(FileType::Fifo, path, &metadata),
            Kind::Whiteout => self.special(FileType::CharacterDevice, path, &metadata),
            Kind::Device => {
                self.leave_out(DEVICES, path);
                Ok(())
            }
            Kind::Directory | Kind::Other => {
                self.leave_out("entries of unknown kind are left out", path);
                Ok(())
            }
        }
    }

    fn leave_out(&mut self, reason: &'static str, path: &Path) {
        self.left_out.add(reason, path);
        if self.absent.len() < MOST_ABSENT {
            self.absent.insert(hash(path));
        }
    }

    /// A tree's first entry is its root or a directory in that, root's own.
    /// Other managers put their own files before a root.
    fn find_shift(&mut self, entry: &Entry, path: &Path) -> Shift {
        let is_first = self.shift.is_none();
        let is_unshifted = self.shift == Some(Shift::default());
        let is_root = self.seeks_shift && is_unshifted && layout::is_root(path);
        if entry.kind == Kind::Directory && (is_first || is_root) {
            self.shift = Shift::of_root(entry.user, entry.group);
            if self.shift.is_none() && entry.user != 0 {
                self.left_out.add("directories at the top aren't root's, and stay so", path);
            }
        }
        *self.shift.get_or_insert_default()
    }

    /// Sets what had to wait, innermost directories first; gives what was
    /// left out.
    pub(in crate::build) fn finish(mut self) -> Result<LeftOut> {
        let shift = self.shift.unwrap_or_default();
        self.lists.set(self.root, shift, &mut self.left_out)?;
        for (path, metadata) in self.directories.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let given = match self.root.open_at(path, flags, Mode::empty()) {
                Ok(directory) => metadata.apply(directory),
                // A later entry has replaced it by a link or a file.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(true),
                Err(cause) => Err(cause),
            };
            let failed = |cause| self.root.error("set the permissions of", path, cause);
            self.left_out.count(given.map_err(failed)?);
        }
        Ok(self.left_out)
    }

    fn directory(&mut self, path: &Path, mut metadata: Metadata) -> Result<()> {
        let mut is_new = false;
        if !path.as_os_str().is_empty() {
            self.make_parent(path)?;
            let failed = |cause| self.root.error("create directory", path, cause);
            let (parent, name) = self.root.open_parent(path).map_err(failed)?;
            match kind_at(&parent, name).map_err(failed)? {
                Some(FileType::Directory) => {}
                Some(FileType::Symlink)
                    if self.keeps_links && !self.is_faithful && self.root.is_dir(path) =>
                {
                    return Ok(());
                }
                other => {
                    if other.is_some() {
                        fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed)?;
                    }
                    fs::mkdirat(&parent, name, Mode::RWXU).map_err(failed)?;
                    is_new = true;
                }
            }
        }
        if metadata.has_attributes() || !is_new {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let opened = self.root.open_at(path, flags, Mode::empty());
            let set = opened.and_then(|directory| {
                if !is_new {
                    metadata.take_others(directory.as_fd(), self.is_faithful)?;
                }
                metadata.set_first(directory.as_fd())
            });
            set.map_err(|cause| self.root.error("set the attributes of", path, cause))?;
        }
        self.directories.insert(path.to_owned(), metadata);
        Ok(())
    }

    fn file(
        &mut self,
        content: &Content,
        data: &mut dyn Read,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<()> {
        let (parent, name) = self.clear(path)?;
        let failed = |cause: io::Error| Error::path("write", &self.root.shown(path), cause);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let made = fs::openat(&parent, name, flags | OFlags::CLOEXEC, Mode::RUSR);
        let mut file = File::from(made.map_err(|cause| failed(cause.into()))?);
        let is_whole = self.write(content, data, &mut file).map_err(failed)?;
        if !is_whole {
            return Err(Error::new("the archive is cut off"));
        }
        let given = metadata.apply(&file).map_err(|cause| failed(cause.into()))?;
        self.left_out.count(given);
        Ok(())
    }

    /// Writes a file's bytes; false when there are not enough.
    fn write(&self, content: &Content, data: &mut dyn Read, file: &mut File) -> io::Result<bool> {
        match content {
            Content::Whole(size) => Ok(self.write_with_holes(data, file)? == *size),
            Content::Sparse { size, parts } => {
                for (offset, length) in parts {
                    file.seek(SeekFrom::Start(*offset))?;
                    if io::copy(&mut data.take(*length), file)? != *length {
                        return Ok(false);
                    }
                }
                file.set_len(*size)?;
                Ok(true)
            }
        }
    }

    /// Copies to the file, leaving holes where there is nothing but zeros;
    /// gives the length.
    fn write_with_holes(&self, from: &mut dyn Read, to: &mut File) -> io::Result<u64> {
        let mut buffer = vec![0u8; 32 * BLOCK];
        let mut end = 0u64;
        loop {
            // A hole of an archive's is long without anything being read.
            self.interrupt.check().map_err(|error| io::Error::other(error.to_string()))?;
            let length = fill(from, &mut buffer)?;
            let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { break };
            for block in read.chunks(BLOCK) {
                if block.len() == BLOCK && block.iter().all(|byte| *byte == 0) {
                    to.seek(SeekFrom::Current(BLOCK as i64))?;
                } else {
                    to.write_all(block)?;
                }
                end += block.len() as u64;
            }
        }
        to.set_len(end)?;
        Ok(end)
    }

    fn symlink(&mut self, target: &[u8], path: &Path, metadata: &Metadata) -> Result<()> {
        let (parent, name) = self.clear(path)?;
        let failed = |cause| self.root.error("create link", path, cause);
        fs::symlinkat(OsStr::from_bytes(target), &parent, name).map_err(failed)?;
        let given = metadata.apply_to_name(&parent, name, FileType::Symlink).map_err(failed)?;
        self.left_out.count(given);
        Ok(())
    }

    /// A second name for a file that an earlier entry has made. The link
    /// itself is what a symbolic link's second name stands for.
    fn hard_link(&mut self, target: &[u8], path: &Path) -> Result<()> {
        let target = inside(target)?;
        if target == path {
            return Ok(());
        }
        if self.absent.contains(&hash(&target)) {
            self.leave_out("further names of what is left out are, too", path);
            return Ok(());
        }
        let (parent, name) = self.clear(path)?;
        let failed = |cause| self.root.error("create link", path, cause);
        let (target_parent, target_name) = self.root.open_parent(&target).map_err(failed)?;
        fs::linkat(&target_parent, target_name, &parent, name, AtFlags::empty()).map_err(failed)
    }

    /// What has neither bytes nor a device behind it.
    fn special(&mut self, kind: FileType, path: &Path, metadata: &Metadata) -> Result<()> {
        let (parent, name) = self.clear(path)?;
        let failed = |cause| self.root.error("create", path, cause);
        match fs::mknodat(&parent, name, kind, Mode::RUSR, 0) {
            // An overlay takes none that says of itself that it isn't there.
            Err(Errno::PERM) if kind == FileType::CharacterDevice => {
                self.leave_out(DEVICES, path);
                return Ok(());
            }
            other => other.map_err(failed)?,
        }
        let given = metadata.apply_to_name(&parent, name, kind).map_err(failed)?;
        self.left_out.count(given);
        Ok(())
    }

    /// Removes what has that name, makes the directories above it, and gives
    /// the one that holds it.
    fn clear<'p>(&mut self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        self.make_parent(path)?;
        self.absent.remove(&hash(path));
        let failed = |cause| self.root.error("replace", path, cause);
        let (parent, name) = self.root.open_parent(path).map_err(failed)?;
        match kind_at(&parent, name).map_err(failed)? {
            None => return Ok((parent, name)),
            Some(FileType::Directory) => {
                remove_tree(&parent, name).map_err(failed)?;
                self.forget(path);
            }
            Some(_) => fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed)?,
        }
        Ok((parent, name))
    }

    fn make_parent(&self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(parent) if !self.root.is_dir(parent) => self.root.create_dir_all(parent, 0o755),
            _ => Ok(()),
        }
    }
}

/// A name of the archive as a path below the root.
pub(in crate::build) fn inside(name: &[u8]) -> Result<PathBuf> {
    let (mut path, mut depth) = (PathBuf::new(), 0);
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            // What is deeper couldn't be copied any more, and would take for ever.
            Component::Normal(_) if depth == DEEPEST => {
                let start: String = path.to_string_lossy().chars().take(SHOWN).collect();
                let start = start.escape_debug();
                return Err(Error::new(format!(
                    "more than {DEEPEST} directories lie in each other in its '{start}...'"
                )));
            }
            Component::Normal(part) if part.len() > LONGEST_NAME => {
                let start: String = part.to_string_lossy().chars().take(SHOWN).collect();
                let start = start.escape_debug();
                return Err(Error::new(format!(
                    "its '{start}...' is longer than the {LONGEST_NAME} bytes that a name may have"
                )));
            }
            Component::Normal(part) => {
                path.push(part);
                depth += 1;
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                let name = Path::new(OsStr::from_bytes(name));
                return Err(Error::new(format!("its entry {} leads outside", shown(name))));
            }
        }
    }
    Ok(path)
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

fn kind_at(parent: &OwnedFd, name: &OsStr) -> Result<Option<FileType>, Errno> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(cause) => Err(cause),
    }
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
