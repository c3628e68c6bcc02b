//! Devices of a guest that runs: nodes in its /dev.
//!
//! That /dev belongs to a hostile root. Each name is resolved by itself, no
//! link is followed and no other file system entered (openat2(2)); a node's
//! owner and permissions are set by the descriptor that was seen to be it.
//! What the guest does to its own names meanwhile fails, or hurts itself only:
//! the filter decides what can be opened.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chmodat, chownat, fstat, makedev,
    mkdirat, mknodat, openat2, unlinkat,
};
use rustix::io::Errno;

use crate::fsroot::RootDir;
use crate::plan::devices::Given;

use super::Kept;

/// The /dev of a guest that runs.
#[derive(Debug)]
pub struct Running {
    dev: OwnedFd,
    owner: u32,
}

impl Running {
    /// Finds it below the guest's root.
    ///
    /// # Errors
    /// ESTALE if something else than what was made for it is there now.
    pub fn find(root: &RootDir, kept: &Kept) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dev =
            root.open_at("dev".as_ref(), flags, Mode::empty()).map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Errno::STALE,
                other => other,
            })?;
        if fstat(&dev)?.st_dev != kept.file_system {
            return Err(Errno::STALE.into());
        }
        Ok(Self { dev, owner: kept.owner })
    }

    /// Makes a node and the directories that it lies in. One that is there
    /// already gets its owner and permissions again.
    ///
    /// # Errors
    /// EEXIST if something else has the name of it or of a directory.
    pub fn make(&self, given: &Given) -> io::Result<()> {
        let (parents, name) = path(&given.device.name);
        let mut directory = self.dev.try_clone()?;
        for parent in parents {
            let is_new = match mkdirat(&directory, parent, Mode::from_raw_mode(0o755)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error.into()),
            };
            directory = enter(directory.as_fd(), parent)?;
            if is_new {
                self.own(directory.as_fd(), 0o755)?;
            }
        }
        let mode = Mode::from_raw_mode(given.mode);
        let number = makedev(given.major, given.minor);
        match mknodat(&directory, name, kind(given), mode, number) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let node = see(directory.as_fd(), name, given)?;
        self.own(node.as_fd(), given.mode)
    }

    /// Removes a node, and the directories that it lay in and that are empty.
    ///
    /// # Errors
    /// EEXIST if something else has the name of it or of a directory; that
    /// stays.
    pub fn remove(&self, given: &Given) -> io::Result<()> {
        let (parents, name) = path(&given.device.name);
        let mut directories = vec![self.dev.try_clone()?];
        for parent in &parents {
            let Some(last) = directories.last() else { break };
            directories.push(enter(last.as_fd(), parent)?);
        }
        let Some(last) = directories.pop() else { return Ok(()) };
        match see(last.as_fd(), name, given) {
            Ok(_) => unlinkat(&last, name, AtFlags::empty())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        for (directory, name) in directories.iter().zip(&parents).rev() {
            if unlinkat(directory, *name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Gives a file, open without access, to the guest's root. fchmod(2)
    /// refuses such a descriptor; its name in /proc leads to it and nowhere
    /// else.
    fn own(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.owner), Gid::from_raw(self.owner));
        chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(chmodat(CWD, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
    }
}

/// Names of the directories, and the last one.
fn path(name: &str) -> (Vec<&str>, &str) {
    let mut names: Vec<&str> = name.split('/').collect();
    let last = names.pop().unwrap_or_default();
    (names, last)
}

fn kind(given: &Given) -> FileType {
    if given.is_block { FileType::BlockDevice } else { FileType::CharacterDevice }
}

/// Opens a name that is no link and on no other file system.
fn open(directory: BorrowedFd<'_>, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    match openat2(directory, name, flags, Mode::empty(), resolve) {
        Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => Err(Errno::EXIST.into()),
        other => Ok(other?),
    }
}

fn enter(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    open(directory, name, OFlags::DIRECTORY)
}

/// Opens a node.
///
/// # Errors
/// EEXIST if something else has the name.
fn see(directory: BorrowedFd<'_>, name: &str, given: &Given) -> io::Result<OwnedFd> {
    let node = open(directory, name, OFlags::empty())?;
    let found = fstat(&node)?;
    let is_it = FileType::from_raw_mode(found.st_mode) == kind(given)
        && found.st_rdev == makedev(given.major, given.minor);
    if is_it { Ok(node) } else { Err(Errno::EXIST.into()) }
}
