//! Removes a directory tree without ever leaving it: no link is followed and
//! no mount is crossed, whatever the tree's owner has put there.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

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
        let above = levels.last().map_or(parent, |above| above.directory.as_fd());
        absent_is_fine(fs::unlinkat(above, &done.name, AtFlags::REMOVEDIR))?;
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
        let unlink = || fs::unlinkat(&self.directory, &name, AtFlags::empty());
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
        fs::renameat(&deepest.directory, name, &top.directory, &new_name)?;
        top.names.push(new_name);
    }
    Ok(())
}

fn absent_is_fine(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
