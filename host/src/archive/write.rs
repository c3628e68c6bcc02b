//! Writes a guest into an archive, member by member.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{self, FileType, Stat};
use rustix::io::Errno;
use tar_core::EntryType;

use crate::error::{Error, Result, told};
use crate::fsroot::RootDir;
use crate::tree::{Attributes, Check, Entry, Pinned, Step, unread, walk};

use super::digest::Summed;
use super::manifest::Manifest;
use super::member::Member;
use super::sparse::{self, Parts};
use super::{ACTIONS, CONFIG, DIGEST, LONGEST_PATH, MANIFEST, MOST_METADATA, ROOT};

/// Threads that compress: a guest's disk is rarely faster.
const MOST_THREADS: usize = 4;

/// Everything stands in blocks of this size, and two of zeros are the end (tar(5)).
const BLOCK: u64 = 512;
const END: usize = 1024;

/// What precedes a guest's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose they are.
    pub manifest: Manifest,
    /// The configuration file's text.
    pub config: String,
    /// The actions, if there are any, and their permissions.
    pub actions: Option<(Vec<u8>, u32)>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Names, directories included.
    pub files: u64,
    /// Sockets, which no archive can hold and whose servers make them anew.
    pub sockets: u64,
    /// Attributes whose names aren't UTF-8, which has no place in a pax header.
    pub attributes: u64,
}

/// Writes a guest that is at rest to `to`, compressed with zstd at this level;
/// without `root`, one without files. `at` is told how many names are done.
///
/// # Errors
/// When something can't be read or written, something is mounted inside, or
/// `check` says no.
pub fn write(
    to: impl Write,
    level: i32,
    head: &Head,
    root: Option<&RootDir>,
    check: Check<'_>,
    at: &mut dyn FnMut(u64),
) -> Result<Written> {
    let mut archive = Archive::begin(to, level, head, check)?;
    if let Some(root) = root {
        walk(root, check, |step| {
            if let Step::Enter(entry, directory) = step {
                archive.writing.entry(root, &entry, directory)?;
                at(archive.writing.done.files);
            }
            Ok(())
        })?;
    }
    archive.end()
}

/// An archive that is being written.
pub struct Archive<'a, W: Write> {
    pub(super) writing: Writing<'a, zstd::Encoder<'static, W>>,
}

impl<W: Write> fmt::Debug for Archive<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("done", &self.writing.done).finish_non_exhaustive()
    }
}

impl<'a, W: Write> Archive<'a, W> {
    /// Writes what precedes the files.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn begin(to: W, level: i32, head: &Head, check: Check<'a>) -> Result<Self> {
        let mut encoder = zstd::Encoder::new(to, level).map_err(failed)?;
        encoder.include_checksum(true).map_err(failed)?;
        let threads =
            thread::available_parallelism().map_or(1, |count| count.get().min(MOST_THREADS));
        encoder.multithread(u32::try_from(threads).unwrap_or(1)).map_err(failed)?;
        let mut writing = Writing::new(Summed::new(encoder), ROOT, check);
        writing.text(MANIFEST, head.manifest.render()?.as_bytes(), 0o600).map_err(failed)?;
        writing.text(CONFIG, head.config.as_bytes(), 0o600).map_err(failed)?;
        if let Some((actions, mode)) = &head.actions {
            writing.text(ACTIONS, actions, *mode).map_err(failed)?;
        }
        Ok(Self { writing })
    }

    /// Writes the digest, and the end.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn end(self) -> Result<Written> {
        let done = self.writing.done;
        self.writing.end().and_then(|encoder| encoder.finish()?.flush()).map_err(failed)?;
        Ok(done)
    }
}

/// Of what is no file's own mistake.
pub(super) fn failed(cause: io::Error) -> Error {
    Error::os("cannot write it", cause)
}

/// Writes what is in a directory to `to`, as tar(1) has it: not compressed,
/// names counted from there, and nothing besides.
///
/// # Errors
/// As [`write()`].
pub fn plain(to: impl Write, root: &RootDir, check: Check<'_>) -> Result<Written> {
    let mut writing = Writing::new(Summed::new(to), "", check);
    walk(root, check, |step| match step {
        // The directory itself has no name.
        Step::Enter(entry, directory) if !entry.path.as_os_str().is_empty() => {
            writing.entry(root, &entry, directory)
        }
        _ => Ok(()),
    })?;
    let done = writing.done;
    writing.finish().and_then(|mut to| to.flush()).map_err(failed)?;
    Ok(done)
}

/// What a name stands for, held fast, with what precedes its bytes.
pub(super) struct Subject {
    pub(super) stat: Stat,
    pub(super) attributes: Attributes,
    target: Vec<u8>,
    file: Option<File>,
}

impl Subject {
    /// That of an entry of a walk; a directory's descriptor is the walk's.
    ///
    /// # Errors
    /// ESTALE if it has become something else, and those of reading.
    pub(super) fn of(
        entry: &Entry<'_>,
        directory: Option<BorrowedFd<'_>>,
        check: Check<'_>,
    ) -> Result<Self, Errno> {
        if let Some(directory) = directory {
            return Ok(Self::directory(*entry.stat, Attributes::read(directory)?));
        }
        let pinned = entry.pin()?;
        if FileType::from_raw_mode(pinned.stat.st_mode) != entry.kind() {
            return Err(Errno::STALE);
        }
        Self::pinned(&pinned, check)
    }

    /// A directory.
    pub(super) fn directory(stat: Stat, attributes: Attributes) -> Self {
        Self { stat, attributes, target: Vec::new(), file: None }
    }

    /// Anything.
    ///
    /// # Errors
    /// Those of reading, and of [`Pinned::open_leased`].
    pub(super) fn pinned(pinned: &Pinned, check: Check<'_>) -> Result<Self, Errno> {
        let attributes = Attributes::read(pinned.file.as_fd())?;
        let mut subject = Self::directory(pinned.stat, attributes);
        match subject.kind() {
            FileType::Symlink => {
                subject.target = fs::readlinkat(&pinned.file, "", Vec::new())?.into_bytes();
            }
            FileType::RegularFile => subject.file = Some(File::from(pinned.open_leased(check)?)),
            _ => {}
        }
        Ok(subject)
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

pub(super) struct Writing<'a, W: Write> {
    pub(super) stream: Summed<W>,
    /// What precedes the name of each file.
    prefix: &'static str,
    pub(super) check: Check<'a>,
    /// The name of a file with several that was written first, by device and
    /// inode.
    pub(super) links: BTreeMap<(u64, u64), PathBuf>,
    /// May a file become shorter while it is read?
    pub(super) is_moving: bool,
    pub(super) done: Written,
}

impl<'a, W: Write> Writing<'a, W> {
    fn new(stream: Summed<W>, prefix: &'static str, check: Check<'a>) -> Self {
        let (links, done) = (BTreeMap::new(), Written::default());
        Self { stream, prefix, check, links, is_moving: false, done }
    }

    /// A member of vserver's own.
    pub(super) fn text(&mut self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let size = bytes.len() as u64;
        let member = Member { name: name.as_bytes(), mode, size, ..Member::default() };
        self.append(&member, &mut &*bytes)
    }

    fn append(&mut self, member: &Member<'_>, data: &mut dyn Read) -> io::Result<()> {
        let headers = member.headers()?;
        // Better no archive than one that can't be read.
        if headers.len() > MOST_METADATA as usize {
            return Err(io::Error::other("it has more attributes than an archive can hold"));
        }
        if member.name.len() > LONGEST_PATH || member.link.len() > LONGEST_PATH {
            return Err(io::Error::other("its path is longer than an archive can hold"));
        }
        self.stream.write_all(&headers)?;
        if io::copy(data, &mut self.stream)? != member.size {
            return Err(io::Error::other("its length has changed meanwhile"));
        }
        self.fill_up(member.size)
    }

    /// Zeros up to the next block.
    fn fill_up(&mut self, size: u64) -> io::Result<()> {
        let rest = size.next_multiple_of(BLOCK) - size;
        io::copy(&mut io::repeat(0).take(rest), &mut self.stream).map(drop)
    }

    fn entry(
        &mut self,
        root: &RootDir,
        entry: &Entry<'_>,
        directory: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        if entry.kind() == FileType::Socket {
            self.done.sockets += 1;
            return Ok(());
        }
        let subject = Subject::of(entry, directory, self.check).map_err(|cause| {
            (self.check)().err().unwrap_or_else(|| unread(root, entry.path, cause))
        });
        self.put(root, entry.path, &subject?)
    }

    /// Writes one name.
    pub(super) fn put(&mut self, root: &RootDir, path: &Path, subject: &Subject) -> Result<()> {
        self.done.files += 1;
        self.member(path, subject).map_err(|cause| {
            // An interrupt makes reading fail, too.
            let shown = root.shown(path);
            (self.check)().err().unwrap_or_else(|| {
                Error::os(format_args!("cannot write '{}' to it", told(&shown)), cause)
            })
        })
    }

    fn member(&mut self, path: &Path, subject: &Subject) -> io::Result<()> {
        let (stat, kind) = (&subject.stat, subject.kind());
        let name = named(self.prefix, path, kind == FileType::Directory);
        let mut member = Member {
            name: &name,
            kind: kind_of(kind),
            mode: stat.st_mode,
            user: stat.st_uid,
            group: stat.st_gid,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            link: &subject.target,
            device: (fs::major(stat.st_rdev), fs::minor(stat.st_rdev)),
            ..Member::default()
        };
        for (name, value) in subject.attributes.iter() {
            match str::from_utf8(name) {
                Ok(name) => member.attributes.push((name.to_owned(), value.to_vec())),
                Err(_) => self.done.attributes += 1,
            }
        }
        if stat.st_nlink > 1 && kind != FileType::Directory {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&identity) {
                let first = named(self.prefix, first, false);
                let kind = EntryType::Link;
                let link = Member { kind, link: &first, attributes: Vec::new(), ..member };
                return self.append(&link, &mut io::empty());
            }
            self.links.insert(identity, path.to_owned());
        }
        let Some(file) = &subject.file else { return self.append(&member, &mut io::empty()) };
        let length = u64::try_from(stat.st_size).unwrap_or_default();
        let is_moving = self.is_moving;
        let parts =
            sparse::parts(file, length, is_moving, self.check).map_err(|cause| match cause {
                Errno::TOOBIG => io::Error::other("it has too many holes"),
                cause => cause.into(),
            })?;
        let check = self.check;
        match parts {
            None => {
                member.size = length;
                let whole = vec![(0, length)];
                self.append(&member, &mut Parts::new(file, whole, is_moving, check))
            }
            Some(parts) => {
                let map = sparse::map(&parts, length);
                member.sparse = Some(length);
                member.size =
                    map.len() as u64 + parts.iter().map(|(_, length)| length).sum::<u64>();
                let parts = Parts::new(file, parts, is_moving, check);
                self.append(&member, &mut map.as_slice().chain(parts))
            }
        }
    }

    /// The last member, and the archive's end; gives what is below it.
    fn end(mut self) -> io::Result<W> {
        let size = self.stream.sum().len() as u64 + 1;
        let last = Member { name: DIGEST.as_bytes(), size, ..Member::default() };
        self.stream.write_all(&last.headers()?)?;
        let sum = self.stream.sum();
        self.stream.write_all(format!("{sum}\n").as_bytes())?;
        self.fill_up(size)?;
        self.finish()
    }

    /// The archive's end.
    fn finish(mut self) -> io::Result<W> {
        self.stream.write_all(&[0; END])?;
        self.stream.into_inner().ok_or_else(|| io::Error::other("it is still written to"))
    }
}

/// The name of a member for a path of the guest's.
fn named(prefix: &str, path: &Path, is_directory: bool) -> Vec<u8> {
    let mut name = [prefix.as_bytes(), OsStr::as_bytes(path.as_os_str())].concat();
    if is_directory && !name.ends_with(b"/") {
        name.push(b'/');
    }
    name
}

fn kind_of(kind: FileType) -> EntryType {
    match kind {
        FileType::Directory => EntryType::Directory,
        FileType::Symlink => EntryType::Symlink,
        FileType::Fifo => EntryType::Fifo,
        FileType::CharacterDevice => EntryType::Char,
        FileType::BlockDevice => EntryType::Block,
        _ => EntryType::Regular,
    }
}
