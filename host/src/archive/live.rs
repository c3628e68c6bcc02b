//! Writes a guest that runs into an archive, in two parts: all of its files
//! while they go on living, and, when they have come to rest, those that aren't
//! any more what was written.
//!
//! Nothing in the first part has to be right, but that the listing says of each
//! name what it was *before* its bytes were read, and that whatever changes a
//! file later makes it look different: see [`crate::tree::Calm`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::tree::{
    Attributes, Calm, Entry, Ground, Passed, Step, mounted, pin, unread, walk, walk_on,
};

use super::changes::{Changes, between};
use super::listing::{Listing, Seen};
use super::write::{Archive, Subject, Written, failed};
use super::{FIRST, REMOVED};

/// Somebody changes it meanwhile.
const MOVING: Ground = Ground { mounts: false, moving: true };

impl<W: Write> Archive<'_, W> {
    /// Writes the files of a guest that runs, and all that was held back until
    /// now goes out. `at` is told how many names are done.
    ///
    /// # Errors
    /// When something can't be read or written, something is mounted inside, or
    /// `check` says no. That a file vanishes or changes is none.
    pub fn first_part(
        &mut self,
        root: &RootDir,
        calm: Calm,
        at: &mut dyn FnMut(u64),
    ) -> Result<Listing> {
        let home = home(root)?;
        let mut first = First { listing: Listing::default(), linked: BTreeMap::new(), calm, home };
        self.writing.is_moving = true;
        let check = self.writing.check;
        walk_on(root, MOVING, check, |step| match step {
            Step::Enter(entry, directory) => {
                self.enter(&mut first, root, &entry, directory)?;
                at(self.writing.done.files);
                Ok(())
            }
            Step::Passed(path, Passed::Mount) => refuse_mount(root, path),
            Step::Passed(..) | Step::Leave(..) => Ok(()),
        })?;
        if calm.is_broken() {
            return Err(Error::new("this host's clock was set back while files were read")
                .hint("try again: changes are told by their time"));
        }
        self.writing.text(FIRST, &[], 0o600).map_err(failed)?;
        self.writing.stream.flush().map_err(failed)?;
        // The second part stands alone, and counts what is left out once.
        self.writing.is_moving = false;
        self.writing.links.clear();
        self.writing.done = Written::default();
        Ok(first.listing)
    }

    fn enter(
        &mut self,
        first: &mut First,
        root: &RootDir,
        entry: &Entry<'_>,
        directory: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        if entry.kind() == FileType::Socket {
            return Ok(());
        }
        let (subject, is_whole) = match Subject::of(entry, directory, self.writing.check) {
            Err(Errno::XDEV) => return refuse_mount(root, entry.path),
            // What is in a directory comes next, and needs it.
            Err(cause) if has_changed(cause) && directory.is_some() => {
                (Subject::directory(*entry.stat, Attributes::default()), false)
            }
            // It comes in the second part, if it is still there.
            Err(cause) if has_changed(cause) => return Ok(()),
            other => (other.map_err(|cause| self.unread(root, entry.path, cause))?, true),
        };
        let odd = self.writing.done.attributes;
        self.writing.put(root, entry.path, &subject)?;
        let is_whole = is_whole && odd == self.writing.done.attributes;
        first.note(entry.path, &subject.stat, is_whole);
        Ok(())
    }

    /// Writes what has changed since, of the same guest or what has its name now,
    /// which is at rest. `at` is told how many names are done.
    ///
    /// # Errors
    /// As [`super::write()`].
    pub fn second_part(
        &mut self,
        root: &RootDir,
        first: &Listing,
        at: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let check = self.writing.check;
        let (mut second, mut sockets, home) = (Listing::default(), 0, home(root)?);
        walk(root, check, |step| {
            if let Step::Enter(entry, _) = step {
                match entry.kind() {
                    FileType::Socket => sockets += 1,
                    _ => second.push(entry.path, seen(entry.stat, home)),
                }
            }
            Ok(())
        })?;
        let Changes { removed, again } = between(first, &second);
        let mut names = Vec::new();
        for path in removed {
            names.extend(path.as_os_str().as_bytes());
            names.push(0);
        }
        self.writing.text(REMOVED, &names, 0o600).map_err(failed)?;
        for (path, _) in again.iter() {
            check()?;
            let name = if path.as_os_str().is_empty() { OsStr::new(".") } else { path.as_os_str() };
            let subject = pin(root.as_fd(), Path::new(name), Ground::default())
                .and_then(|pinned| Subject::pinned(&pinned, check))
                .map_err(|cause| self.unread(root, &path, cause))?;
            self.writing.put(root, &path, &subject)?;
            at(self.writing.done.files);
        }
        let attributes = self.writing.done.attributes;
        self.writing.done = Written { files: second.len(), sockets, attributes };
        Ok(())
    }

    /// That a file can't be read, or that the interrupt came.
    fn unread(&self, root: &RootDir, path: &Path, cause: Errno) -> Error {
        (self.writing.check)().err().unwrap_or_else(|| unread(root, path, cause))
    }
}

/// What the first part has written.
struct First {
    listing: Listing,
    /// A file with several names as it was when its bytes were written, with
    /// the first one.
    linked: BTreeMap<(u64, u64), Seen>,
    calm: Calm,
    home: u64,
}

impl First {
    fn note(&mut self, path: &Path, stat: &Stat, is_whole: bool) {
        let mut seen = seen(stat, self.home);
        if seen.is_linked {
            seen = *self.linked.entry(seen.inode).or_insert(seen);
        }
        if !is_whole || !self.calm.is_older(seen.changed) {
            seen = seen.in_doubt();
        }
        self.listing.push(path, seen);
    }
}

/// The device of a tree, which a mount of its own gives another number each
/// time.
fn home(root: &RootDir) -> Result<u64> {
    let stat = fstat(root.as_fd());
    Ok(stat.map_err(|cause| root.error("examine", Path::new(""), cause))?.st_dev)
}

fn seen(stat: &Stat, home: u64) -> Seen {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let device = if stat.st_dev == home { 0 } else { stat.st_dev };
    Seen {
        inode: (device, stat.st_ino),
        changed: (stat.st_ctime, stat.st_ctime_nsec),
        size: stat.st_size.try_into().unwrap_or_default(),
        kind: kind.as_raw_mode(),
        is_linked: stat.st_nlink > 1 && kind != FileType::Directory,
    }
}

/// Does this error come of somebody's changing what is read?
fn has_changed(cause: Errno) -> bool {
    // A lease of somebody's has to end first (fcntl(2)): EAGAIN; an attribute has
    // gone, or is longer now; the name is another kind of file's by now.
    matches!(cause, Errno::AGAIN | Errno::NODATA | Errno::RANGE | Errno::STALE)
        || MOVING.has_gone(cause)
}

/// What is mounted would keep the second part back, when the guest is down. It
/// may also be that something was renamed in that moment.
fn refuse_mount(root: &RootDir, path: &Path) -> Result<()> {
    match pin(root.as_fd(), path, Ground::default()) {
        Err(Errno::XDEV) => Err(mounted(root, path)),
        _ => Ok(()),
    }
}
