//! Lays the entries of a hostile tar archive into a root.
//!
//! Names are taken apart here: `..` ends the extraction, a leading `/` is
//! dropped. Directories are found by the kernel inside the root, so that a
//! link that an earlier entry has made leads nowhere else. An existing name
//! is removed before it is made anew, never written through.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use tar::EntryType;

use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::archive::Entry;

/// A guest has this many ids; a greater one becomes "nobody".
const IDS: u64 = 65_536;
const NOBODY: u32 = 65_534;

/// How pax archives mark extended attributes (star(1), tar(5)).
const XATTR: &str = "SCHILY.xattr.";

/// Blocks of zeros of this size become holes.
const BLOCK: usize = 4096;

/// Paths that were not extracted, by reason.
#[derive(Debug, Default)]
pub(super) struct LeftOut(BTreeMap<&'static str, Vec<String>>);

impl LeftOut {
    fn add(&mut self, reason: &'static str, path: &Path) {
        self.0.entry(reason).or_default().push(shown(path));
    }

    /// Each reason with its paths.
    pub(super) fn by_reason(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.0.iter().map(|(reason, paths)| (*reason, paths.as_slice()))
    }
}

/// A path of the archive, safe for a terminal.
fn shown(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().escape_debug())
}

/// Owner, permissions, time and attributes of an entry.
struct Metadata {
    user: Uid,
    group: Gid,
    mode: Mode,
    times: Timestamps,
    attributes: Vec<(String, Vec<u8>)>,
}

/// Extracts entry by entry.
pub(super) struct Extractor<'a> {
    root: &'a RootDir,
    /// Set at the end: a directory may be closed to writing, and its time
    /// changes with every file that is made in it.
    directories: BTreeMap<PathBuf, Metadata>,
    left_out: LeftOut,
}

impl<'a> Extractor<'a> {
    /// Extracts into this root.
    pub(super) fn new(root: &'a RootDir) -> Self {
        Self { root, directories: BTreeMap::new(), left_out: LeftOut::default() }
    }

    /// Extracts one entry.
    pub(super) fn extract(&mut self, entry: &mut Entry<'_>) -> Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let name = entry.path_bytes().into_owned();
        let path = inside(&name)?;
        let result = self.extract_kind(entry, kind, &name, &path);
        result.map_err(|error| error.context(format_args!("entry {}", shown(&path))))
    }

    fn extract_kind(
        &mut self,
        entry: &mut Entry<'_>,
        kind: EntryType,
        name: &[u8],
        path: &Path,
    ) -> Result<()> {
        let metadata = self.metadata(entry, path)?;
        // Old archives mark directories by the name alone.
        let is_directory = kind.is_dir() || (kind.is_file() && name.ends_with(b"/"));
        if is_directory {
            return self.directory(path, metadata);
        }
        if path.as_os_str().is_empty() {
            return Err(Error::new("the root itself is no directory"));
        }
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(entry, path, &metadata)
            }
            EntryType::Symlink => self.symlink(entry, path, &metadata),
            EntryType::Link => self.hard_link(entry, path),
            EntryType::Fifo => self.fifo(path, &metadata),
            EntryType::Char | EntryType::Block => {
                self.left_out.add("device nodes are left out", path);
                Ok(())
            }
            _ => {
                self.left_out.add("entries of unknown kind are left out", path);
                Ok(())
            }
        }
    }

    /// Sets what had to wait, innermost directories first; gives what was
    /// left out.
    pub(super) fn finish(self) -> Result<LeftOut> {
        for (path, metadata) in self.directories.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            match self.root.open_at(path, flags, Mode::empty()) {
                Ok(directory) => metadata.apply(&directory),
                // A later entry has replaced it by a link or a file.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(()),
                Err(cause) => Err(cause),
            }
            .map_err(|cause| self.root.error("set the permissions of", path, cause))?;
        }
        Ok(self.left_out)
    }

    fn metadata(&mut self, entry: &mut Entry<'_>, path: &Path) -> Result<Metadata> {
        let damaged = |cause: io::Error| Error::os("damaged header", cause);
        let header = entry.header();
        let mut id = |number: u64| match u32::try_from(number) {
            Ok(id) if number < IDS => id,
            _ => {
                self.left_out.add("owners beyond a guest's 65536 ids became nobody", path);
                NOBODY
            }
        };
        let user = Uid::from_raw(id(header.uid().map_err(damaged)?));
        let group = Gid::from_raw(id(header.gid().map_err(damaged)?));
        let mode = Mode::from_raw_mode(header.mode().map_err(damaged)? & 0o7777);
        let seconds = i64::try_from(header.mtime().map_err(damaged)?).unwrap_or(0);
        let modified = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: modified, last_modification: modified };
        let attributes = self.attributes(entry, path)?;
        Ok(Metadata { user, group, mode, times, attributes })
    }

    /// File capabilities, access lists and the users' own attributes; others
    /// belong to the kernel or to the host.
    fn attributes(&mut self, entry: &mut Entry<'_>, path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
        let damaged = |cause: io::Error| Error::os("damaged header", cause);
        let mut attributes = Vec::new();
        let Some(extensions) = entry.pax_extensions().map_err(damaged)? else {
            return Ok(attributes);
        };
        for extension in extensions {
            let Ok(extension) = extension else {
                self.left_out.add("some attributes are left out", path);
                continue;
            };
            let key = extension.key().unwrap_or_default();
            if key == "GNU.sparse.major" {
                return Err(Error::new("sparse files in pax archives are not understood")
                    .hint("pack it with 'tar --format=gnu'"));
            }
            let Some(name) = key.strip_prefix(XATTR) else { continue };
            let is_capability = name == "security.capability";
            let is_list = matches!(name, "system.posix_acl_access" | "system.posix_acl_default");
            if is_capability || is_list || name.starts_with("user.") {
                attributes.push((name.to_owned(), extension.value_bytes().to_vec()));
            } else {
                self.left_out.add("some attributes are left out", path);
            }
        }
        Ok(attributes)
    }

    fn directory(&mut self, path: &Path, metadata: Metadata) -> Result<()> {
        if !path.as_os_str().is_empty() {
            self.make_parent(path)?;
            let failed = |cause| self.root.error("create directory", path, cause);
            let (parent, name) = self.root.open_parent(path).map_err(failed)?;
            match kind_at(&parent, name).map_err(failed)? {
                Some(FileType::Directory) => {}
                // As dpkg and tar --keep-directory-symlink do: /lib stays a
                // link to usr/lib.
                Some(FileType::Symlink) if self.root.is_dir(path) => return Ok(()),
                other => {
                    if other.is_some() {
                        fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed)?;
                    }
                    fs::mkdirat(&parent, name, Mode::RWXU).map_err(failed)?;
                }
            }
        }
        self.directories.insert(path.to_owned(), metadata);
        Ok(())
    }

    fn file(&self, entry: &mut Entry<'_>, path: &Path, metadata: &Metadata) -> Result<()> {
        let failed = |cause: io::Error| Error::path("write", &self.root.shown(path), cause);
        let (parent, name) = self.clear(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let made = fs::openat(&parent, name, flags | OFlags::CLOEXEC, Mode::RUSR);
        let mut file = File::from(made.map_err(|cause| failed(cause.into()))?);
        let expected = entry.size();
        if write_with_holes(entry, &mut file).map_err(failed)? != expected {
            return Err(Error::new("the archive is cut off"));
        }
        metadata.apply(&file).map_err(|cause| failed(cause.into()))
    }

    fn symlink(&self, entry: &Entry<'_>, path: &Path, metadata: &Metadata) -> Result<()> {
        let target = entry.link_name_bytes().unwrap_or_default();
        let failed = |cause| self.root.error("create link", path, cause);
        let (parent, name) = self.clear(path)?;
        fs::symlinkat(OsStr::from_bytes(&target), &parent, name).map_err(failed)?;
        metadata.apply_to_name(&parent, name).map_err(failed)
    }

    /// A second name for a file that an earlier entry has made. The link
    /// itself is what a symbolic link's second name stands for.
    fn hard_link(&self, entry: &Entry<'_>, path: &Path) -> Result<()> {
        let target = inside(&entry.link_name_bytes().unwrap_or_default())?;
        let failed = |cause| self.root.error("create link", path, cause);
        if target == path {
            return Ok(());
        }
        let (parent, name) = self.clear(path)?;
        let (target_parent, target_name) = self.root.open_parent(&target).map_err(failed)?;
        fs::linkat(&target_parent, target_name, &parent, name, AtFlags::empty()).map_err(failed)
    }

    fn fifo(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        let failed = |cause| self.root.error("create FIFO", path, cause);
        let (parent, name) = self.clear(path)?;
        fs::mknodat(&parent, name, FileType::Fifo, Mode::RUSR, 0).map_err(failed)?;
        fs::chmodat(&parent, name, metadata.mode, AtFlags::empty()).map_err(failed)?;
        metadata.apply_to_name(&parent, name).map_err(failed)
    }

    /// Removes what has that name, makes the directories above it, and gives
    /// the one that holds it.
    fn clear<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        self.make_parent(path)?;
        let failed = |cause| self.root.error("replace", path, cause);
        let (parent, name) = self.root.open_parent(path).map_err(failed)?;
        let how = match kind_at(&parent, name).map_err(failed)? {
            None => return Ok((parent, name)),
            Some(FileType::Directory) => AtFlags::REMOVEDIR,
            Some(_) => AtFlags::empty(),
        };
        fs::unlinkat(&parent, name, how).map_err(failed)?;
        Ok((parent, name))
    }

    fn make_parent(&self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(parent) if !self.root.is_dir(parent) => self.root.create_dir_all(parent, 0o755),
            _ => Ok(()),
        }
    }
}

impl Metadata {
    /// Owner first: changing it takes set-user-id bits and capabilities away.
    fn apply(&self, file: impl AsFd) -> Result<(), Errno> {
        let file = file.as_fd();
        fs::fchown(file, Some(self.user), Some(self.group))?;
        fs::fchmod(file, self.mode)?;
        for (name, value) in &self.attributes {
            match fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
                // A file system without such attributes, or a value that the
                // kernel finds wrong, is no reason to lose the file.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => {}
                Err(cause) => return Err(cause),
            }
        }
        fs::futimens(file, &self.times)
    }

    /// For what can't be opened.
    fn apply_to_name(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        fs::chownat(parent, name, Some(self.user), Some(self.group), no_follow)?;
        fs::utimensat(parent, name, &self.times, no_follow)
    }
}

/// A name of the archive as a path below the root.
fn inside(name: &[u8]) -> Result<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                let name = String::from_utf8_lossy(name);
                return Err(Error::new(format!(
                    "its entry '{}' leads outside",
                    name.escape_debug()
                )));
            }
        }
    }
    Ok(path)
}

fn kind_at(parent: &OwnedFd, name: &OsStr) -> Result<Option<FileType>, Errno> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Copies to the file, leaving holes where there is nothing but zeros; gives
/// the length.
fn write_with_holes(from: &mut impl Read, to: &mut File) -> io::Result<u64> {
    let mut buffer = vec![0u8; 32 * BLOCK];
    let mut end = 0u64;
    loop {
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

/// Reads until the buffer is full or the end is reached.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(length)
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
