//! Removes a directory tree without ever leaving it: no link is followed and
//! no mount is crossed, whatever the tree's owner has put there. What chattr(1)
//! has made immutable or append-only goes too.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;

use super::RootDir;
use crate::sys::block;

/// Directories held open at the same time. What lies deeper is first moved to
/// the top of the tree, so that no depth exhausts our descriptors.
const MAX_DEPTH: usize = 100;

/// A directory that is being emptied.
struct Level {
    directory: OwnedFd,
    /// Its name in the directory above.
    name: OsString,
    /// What is still to be removed in it.
    names: Vec<OsString>,
}

/// Removes `name` in `parent` with all that is below it; all is well when
/// there is none.
///
/// # Errors
/// `EXDEV` when something is mounted inside (what was removed until then is
/// gone), else as unlinkat(2).
pub fn remove_tree(parent: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    remove_tree_until(parent, name, &|| false)
}

/// The same, until somebody wants to `stop`, who is asked before each name.
///
/// # Errors
/// `ECANCELED` then, else as [`remove_tree`].
pub fn remove_tree_until(
    parent: impl AsFd,
    name: &OsStr,
    stop: &dyn Fn() -> bool,
) -> Result<(), Errno> {
    let parent = parent.as_fd();
    let stat = match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return absent_is_fine(fs::unlinkat(parent, name, AtFlags::empty()));
    }
    // An own stack, because a guest may nest directories as deep as it likes.
    let mut levels = vec![Level::open(parent, name.to_owned())?];
    let mut moved = 0u64;
    loop {
        if stop() {
            return Err(Errno::CANCELED);
        }
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { break };
        if let Some(name) = level.names.pop() {
            match level.remove(name)? {
                Some(below) if depth < MAX_DEPTH => levels.push(below),
                Some(below) => {
                    moved += 1;
                    move_to_top(&mut levels, &below.name, moved)?;
                }
                None => {}
            }
            continue;
        }
        let Some(done) = levels.pop() else { break };
        absent_is_fine(match levels.last() {
            Some(above) => unlink(above.directory.as_fd(), &done.name, AtFlags::REMOVEDIR),
            // The flags of what it lies in are somebody else's.
            None => fs::unlinkat(parent, &done.name, AtFlags::REMOVEDIR),
        })?;
    }
    Ok(())
}

impl Level {
    fn open(parent: impl AsFd, name: OsString) -> Result<Self, Errno> {
        let how =
            fs::ResolveFlags::BENEATH | fs::ResolveFlags::NO_SYMLINKS | fs::ResolveFlags::NO_XDEV;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = fs::openat2(parent, &name, flags, Mode::empty(), how)?;
        let names = super::names_in(&directory)?;
        Ok(Self { directory, name, names })
    }

    /// Removes one name; gives the level to empty first when it is a
    /// directory with something in it.
    fn remove(&self, name: OsString) -> Result<Option<Self>, Errno> {
        let unlink = || unlink(self.directory.as_fd(), &name, AtFlags::empty());
        let unlinked = match unlink() {
            // The root of a read-only subvolume of btrfs, for example a
            // snapshot that was made inside.
            Err(Errno::ROFS) if block::unprotect_subvolume(self.directory.as_fd()).is_ok() => {
                unlink()
            }
            other => other,
        };
        match unlinked {
            Ok(()) | Err(Errno::NOENT) => Ok(None),
            Err(Errno::ISDIR) => Self::open(&self.directory, name).map(Some),
            Err(cause) => Err(cause),
        }
    }
}

/// Moves the directory `name` of the deepest level to the first one.
fn move_to_top(levels: &mut [Level], name: &OsStr, number: u64) -> Result<(), Errno> {
    let new_name = OsString::from(format!(".vserver-deep-{number}"));
    if let [top, .., deepest] = levels {
        let (from, to) = (deepest.directory.as_fd(), top.directory.as_fd());
        in_spite_of_flags(from, name, || fs::renameat(from, name, to, &new_name))?;
        top.names.push(new_name);
    }
    Ok(())
}

fn unlink(parent: BorrowedFd<'_>, name: &OsStr, flags: AtFlags) -> Result<(), Errno> {
    in_spite_of_flags(parent, name, || fs::unlinkat(parent, name, flags))
}

/// Does something with a name of a directory, and if that isn't permitted, takes from
/// both what forbids it, and does it again (ioctl_iflags(2), "FS_IMMUTABLE_FL"). A file
/// that has other names, such as those that util-vserver's `vunify` has linked, has its
/// flags again then: they aren't this tree's alone.
fn in_spite_of_flags(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    what: impl Fn() -> Result<(), Errno>,
) -> Result<(), Errno> {
    match what() {
        Err(Errno::PERM) => {}
        other => return other,
    }
    take_flags(parent)?;
    let Some(file) = open_flagged(parent, name)? else { return what() };
    let flags = take_flags(file.as_fd())?;
    let is_shared = fs::fstat(&file)?.st_nlink > 1;
    let done = what();
    if is_shared || done.is_err() {
        let _ = fs::ioctl_setflags(&file, flags);
    }
    done
}

/// Takes what forbids changes ([`take_flags`]) from a name and its directory.
pub(super) fn allow(root: &RootDir, inside: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let Some(name) = inside.file_name() else { return Ok(()) };
    let parent = root.open_at(inside.parent().unwrap_or(Path::new("")), flags, Mode::empty())?;
    let named = open_flagged(parent.as_fd(), name);
    for file in named.ok().flatten().iter().chain([&parent]) {
        // A file system that has no such flags forbids nothing.
        let _ = take_flags(file.as_fd());
    }
    Ok(())
}

/// What can have such flags: devices aren't opened, they might do something.
fn open_flagged(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = fs::openat(parent, name, flags, Mode::empty())?;
    match FileType::from_raw_mode(fs::fstat(&found)?.st_mode) {
        FileType::RegularFile | FileType::Directory => {}
        _ => return Ok(None),
    }
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty()).map(Some)
}

/// The flags that it had.
fn take_flags(file: BorrowedFd<'_>) -> Result<IFlags, Errno> {
    let had = fs::ioctl_getflags(file).map_err(|_| Errno::PERM)?;
    let forbid = IFlags::IMMUTABLE | IFlags::APPEND;
    if had.intersects(forbid) {
        fs::ioctl_setflags(file, had.difference(forbid))?;
    }
    Ok(had)
}

fn absent_is_fine(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
