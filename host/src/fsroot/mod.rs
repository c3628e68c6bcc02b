//! Files below a directory that somebody else may have written.
//!
//! A guest's root is hostile: its `/etc` may be a link to `/`. Every path is
//! therefore resolved by the kernel as if the directory were the root
//! (openat2(2), `RESOLVE_IN_ROOT`), so that links, absolute ones too, end
//! inside it. What is written replaces a name, never what a link of that name
//! points to. Nothing here reads a device, a FIFO or a socket.

mod long;
mod remove;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::error::{Error, Result};

pub use long::open_beneath;
pub use remove::{remove_tree, remove_tree_until};

/// How often a lookup is tried again when the kernel could not rule out that
/// a rename moved a directory out of the root (openat2(2), `EAGAIN`).
const LOOKUP_ATTEMPTS: u32 = 64;

/// Links may be followed, but only inside the root and never those of /proc.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// A directory that is the root of every path given to it. Paths may start
/// with `/`; `..` is resolved like at a root.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl RootDir {
    /// Opens a directory of the host as a root. The path itself is trusted.
    ///
    /// # Errors
    /// When it can't be opened or is not a directory.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|cause| Error::path("open", path, cause))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// A root that is already open, with the path to be named in errors.
    pub fn from_fd(fd: OwnedFd, path: impl Into<PathBuf>) -> Self {
        Self { fd, path: path.into() }
    }

    /// Where it was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens something inside; the building stone of all others. Of a path that is
    /// longer than the kernel takes, links are followed in its beginning only.
    ///
    /// # Errors
    /// The error number of openat2(2).
    pub fn open_at(&self, inside: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let Some((first, rest)) = long::split(inside) else {
            return self.look_up(inside, flags, mode);
        };
        let first = self.look_up(first, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        open_beneath(first.as_fd(), rest, flags, mode, long::BELOW)
    }

    /// Opens something whose path isn't too long for the kernel.
    fn look_up(&self, inside: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let path = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        for _ in 0..LOOKUP_ATTEMPTS {
            match fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, mode, INSIDE) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Does the kernel remember something of this name? No file system is
    /// asked, so that none of a guest's that doesn't answer holds anybody up.
    /// A tmpfs has all its names remembered; elsewhere one that nobody has used
    /// for a while may be missing.
    pub fn remembers(&self, inside: &Path) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = INSIDE | ResolveFlags::CACHED;
        fs::openat2(&self.fd, inside, flags, Mode::empty(), resolve).is_ok()
    }

    /// Opens the directory that holds `inside`, and gives the last name. The
    /// last name itself is not looked at.
    ///
    /// # Errors
    /// `EINVAL` when the path ends in `..` or has no name, else as openat2(2).
    pub fn open_parent<'a>(&self, inside: &'a Path) -> Result<(OwnedFd, &'a OsStr), Errno> {
        let Some(Component::Normal(name)) = inside.components().next_back() else {
            return Err(Errno::INVAL);
        };
        let parent = inside.parent().unwrap_or(Path::new(""));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok((self.open_at(parent, flags, Mode::empty())?, name))
    }

    /// Opens a directory inside.
    ///
    /// # Errors
    /// When it isn't there or is not a directory.
    pub fn open_dir(&self, inside: impl AsRef<Path>) -> Result<Self> {
        let inside = inside.as_ref();
        let fd = self
            .open_at(inside, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .map_err(|cause| self.error("open", inside, cause))?;
        Ok(Self { fd, path: self.shown(inside) })
    }

    /// Opens a regular file for reading; `None` when there is none.
    ///
    /// # Errors
    /// When it is something else than a file, or can't be opened.
    pub fn open_file(&self, inside: impl AsRef<Path>) -> Result<Option<File>> {
        let inside = inside.as_ref();
        // Without O_NONBLOCK a FIFO would hold us up for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match self.open_at(inside, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.map_err(|cause| self.error("open", inside, cause))?,
        };
        let stat = fs::fstat(&fd).map_err(|cause| self.error("examine", inside, cause))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(format!(
                "cannot read '{}': not a regular file",
                self.shown(inside).display()
            )));
        }
        Ok(Some(File::from(fd)))
    }

    /// Reads a regular file; `None` when there is none.
    ///
    /// # Errors
    /// When it is longer than `limit` bytes, no file, or can't be read.
    pub fn read(&self, inside: impl AsRef<Path>, limit: usize) -> Result<Option<Vec<u8>>> {
        let inside = inside.as_ref();
        let Some(file) = self.open_file(inside)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(|cause| Error::path("read", &self.shown(inside), cause))?;
        if bytes.len() > limit {
            return Err(Error::new(format!(
                "'{}' is longer than {limit} bytes",
                self.shown(inside).display()
            )));
        }
        Ok(Some(bytes))
    }

    /// Writes a file whole or not at all, owned by root, with exactly these
    /// permissions. A link of that name is replaced, not followed.
    ///
    /// # Errors
    /// When its directory is missing, or a directory has that name.
    pub fn write(&self, inside: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
        self.write_for(inside, bytes, mode, 0)
    }

    /// As [`RootDir::write`], with this group.
    ///
    /// # Errors
    /// As [`RootDir::write`].
    pub fn write_for(
        &self,
        inside: impl AsRef<Path>,
        bytes: &[u8],
        mode: u32,
        group: u32,
    ) -> Result<()> {
        let inside = inside.as_ref();
        self.replace(inside, bytes, Mode::from_raw_mode(mode), Gid::from_raw(group))
            .map_err(|cause| Error::path("write", &self.shown(inside), cause))
    }

    fn replace(&self, inside: &Path, bytes: &[u8], mode: Mode, group: Gid) -> std::io::Result<()> {
        let (parent, name) = self.open_parent(inside)?;
        let temporary = format!(".vserver-{}", std::process::id());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let _ = fs::unlinkat(&parent, &temporary, AtFlags::empty());
        let mut file = File::from(fs::openat(&parent, &temporary, flags, Mode::RUSR)?);
        let written = file
            .write_all(bytes)
            .and_then(|()| Ok(fs::fchown(&file, Some(Uid::ROOT), Some(group))?))
            .and_then(|()| Ok(fs::fchmod(&file, mode)?))
            .and_then(|()| Ok(fs::renameat(&parent, &temporary, &parent, name)?));
        if written.is_err() {
            let _ = fs::unlinkat(&parent, &temporary, AtFlags::empty());
        }
        written
    }

    /// Makes a directory and what is missing above it, with these permissions
    /// for all that is new. An existing one, or a link to one, is left as it
    /// is.
    ///
    /// # Errors
    /// When something on the way is no directory.
    pub fn create_dir_all(&self, inside: impl AsRef<Path>, mode: u32) -> Result<()> {
        let inside = inside.as_ref();
        let mut reached = PathBuf::new();
        for component in inside.components() {
            let Component::Normal(name) = component else { continue };
            reached.push(name);
            self.create_dir(&reached, mode)?;
        }
        Ok(())
    }

    /// Makes one directory unless it, or a link to one, is there.
    fn create_dir(&self, inside: &Path, mode: u32) -> Result<()> {
        let failed = |cause: Errno| self.error("create directory", inside, cause);
        let (parent, name) = self.open_parent(inside).map_err(failed)?;
        let mode = Mode::from_raw_mode(mode);
        match make_directory(parent.as_fd(), name, mode) {
            Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                self.open_at(inside, flags, Mode::empty()).map(drop).map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    /// Makes a symbolic link, in place of a file or link of that name.
    ///
    /// # Errors
    /// When a directory has that name, or its own directory is missing.
    pub fn symlink(&self, target: impl AsRef<Path>, inside: impl AsRef<Path>) -> Result<()> {
        let inside = inside.as_ref();
        let failed = |cause: Errno| self.error("create link", inside, cause);
        let (parent, name) = self.open_parent(inside).map_err(failed)?;
        match fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(cause) => return Err(failed(cause)),
        }
        fs::symlinkat(target.as_ref(), &parent, name).map_err(failed)
    }

    /// Where a symbolic link points to; `None` when the name is no link.
    ///
    /// # Errors
    /// When its directory can't be opened.
    pub fn read_link(&self, inside: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        let inside = inside.as_ref();
        let link = self
            .open_parent(inside)
            .and_then(|(parent, name)| fs::readlinkat(&parent, name, Vec::new()));
        match link {
            Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()).into())),
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(cause) => Err(self.error("read link", inside, cause)),
        }
    }

    /// Removes a file, link, FIFO, socket or device node; all is well when
    /// there is none.
    ///
    /// # Errors
    /// When a directory has that name, or the system refuses.
    pub fn remove(&self, inside: impl AsRef<Path>) -> Result<()> {
        let inside = inside.as_ref();
        let removed = self
            .open_parent(inside)
            .and_then(|(parent, name)| fs::unlinkat(&parent, name, AtFlags::empty()));
        match removed {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(cause) => Err(self.error("remove", inside, cause)),
        }
    }

    /// Takes from a name and from its directory what chattr(1) has made immutable or
    /// append-only, so that it can be replaced; all is well when there is none.
    ///
    /// # Errors
    /// When its directory can't be opened.
    pub fn allow_changes(&self, inside: impl AsRef<Path>) -> Result<()> {
        let inside = inside.as_ref();
        match remove::allow(self, inside) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            other => other.map_err(|cause| self.error("change", inside, cause)),
        }
    }

    /// What a name is, links not followed; `None` when there is nothing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stat(&self, inside: impl AsRef<Path>) -> Result<Option<Stat>> {
        let inside = inside.as_ref();
        match self.open_at(inside, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => {
                let stat = fs::fstat(&fd).map_err(|cause| self.error("examine", inside, cause))?;
                Ok(Some(stat))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(cause) => Err(self.error("examine", inside, cause)),
        }
    }

    /// Is there something of that name, links followed inside the root?
    pub fn exists(&self, inside: impl AsRef<Path>) -> bool {
        self.open_at(inside.as_ref(), OFlags::PATH, Mode::empty()).is_ok()
    }

    /// Is it a directory, links followed inside the root?
    pub fn is_dir(&self, inside: impl AsRef<Path>) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        self.open_at(inside.as_ref(), flags, Mode::empty()).is_ok()
    }

    /// The names in a directory, sorted; empty when there is no such
    /// directory.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn list(&self, inside: impl AsRef<Path>) -> Result<Vec<OsString>> {
        let inside = inside.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = match self.open_at(inside, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            other => other.map_err(|cause| self.error("open", inside, cause))?,
        };
        let mut names = names_in(&fd).map_err(|cause| self.error("read", inside, cause))?;
        names.sort();
        Ok(names)
    }

    /// The path of something inside, for messages only.
    pub fn shown(&self, inside: &Path) -> PathBuf {
        self.path.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// "cannot VERB 'PATH': CAUSE" for something inside.
    pub fn error(&self, verb: &str, inside: &Path, cause: Errno) -> Error {
        Error::path(verb, &self.shown(inside), cause)
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes a directory with exactly these permissions: mkdir(2) takes the umask off, and
/// may ignore the sticky bit. Whoever may write beside it may exchange it at once: no
/// link gets the permissions, nor what is mounted there.
///
/// # Errors
/// Those of mkdir(2) and of openat2(2): ELOOP or ENOTDIR if it was exchanged.
pub fn make_directory(
    parent: BorrowedFd<'_>,
    name: impl Arg + Copy,
    mode: Mode,
) -> Result<(), Errno> {
    fs::mkdirat(parent, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let itself = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let made = fs::openat2(parent, name, flags, Mode::empty(), itself)?;
    fs::fchmod(&made, mode)
}

/// The names in an open directory, without `.` and `..`.
///
/// # Errors
/// Those of getdents(2).
pub fn names_in(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
