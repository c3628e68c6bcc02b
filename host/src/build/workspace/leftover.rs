//! What killed builds, deletions and copies have left: who finds it takes it away.

use std::ffi::{OsStr, OsString};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;
use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::fsroot::{RootDir, names_in, remove_tree_until};
use crate::ids;
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::runtime::{Lock, RunDir};
use crate::tree;

use super::journal::Journal;
use super::{BUILDING, DELETING};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The permissions of everybody but the owner (inode(7)).
const OTHERS: u32 = 0o077;

/// Workspaces whose owners have ended, held so that nobody else sees to them.
#[derive(Debug)]
pub(in crate::build) struct Leftovers {
    parent: RootDir,
    found: Vec<Left>,
}

#[derive(Debug)]
struct Left {
    guest: GuestName,
    name: OsString,
    directory: OwnedFd,
}

/// Who removes them.
#[derive(Clone, Copy, Debug)]
pub(in crate::build) struct Remover<'a> {
    /// Where vserver's files are.
    pub paths: &'a Paths,
    /// The guest that it is about, whose lock is held.
    pub own: &'a GuestName,
    /// Ends it.
    pub interrupt: &'a Interrupt,
}

impl Leftovers {
    /// Finds those in a directory. A root that isn't complete goes back into its
    /// workspace at once, and what was set aside for it to its place.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(in crate::build) fn take_back(parent: &Path) -> Result<Self> {
        let (parent, found) = find(parent)?;
        for left in &found {
            if let Some(journal) = Journal::read(left.directory.as_fd()) {
                journal.take_back(left.directory.as_fd());
            }
        }
        Ok(Self { parent, found })
    }

    /// Removes those of the remover's own guest.
    ///
    /// # Errors
    /// As [`Leftovers::remove`].
    pub(in crate::build) fn remove_own(
        &mut self,
        by: Remover<'_>,
        progress: &mut Progress,
    ) -> Result<()> {
        let all = mem::take(&mut self.found).into_iter();
        let (own, others) = all.partition(|left: &Left| left.guest == *by.own);
        self.found = others;
        self.remove_these(own, by, progress)
    }

    /// Removes them, and what killed copies have left, and takes its numbers from a guest
    /// of which a killed build has left nothing else. What refuses to go stays for the next.
    ///
    /// # Errors
    /// When it is interrupted, or the numbers can't be taken back.
    pub(in crate::build) fn remove(
        mut self,
        by: Remover<'_>,
        progress: &mut Progress,
    ) -> Result<()> {
        let found = mem::take(&mut self.found);
        self.remove_these(found, by, progress)?;
        let swept = tree::sweep(&self.parent);
        swept.map_err(|cause| Error::path("read", self.parent.path(), cause))
    }

    fn remove_these(
        &self,
        found: Vec<Left>,
        by: Remover<'_>,
        progress: &mut Progress,
    ) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        progress.lines("removing what one that was killed has left");
        let stop = || by.interrupt.is_asked();
        for Left { guest, name, directory } in &found {
            // Its numbers go with it, and somebody needs them yet.
            if is_all_gone(by.paths, guest) && is_in_use(guest, by) {
                continue;
            }
            let is_there = is_at(&self.parent, name, directory);
            if is_there && remove_tree_until(&self.parent, name, &stop).is_ok() {
                release(guest, by)?;
            }
            by.interrupt.check()?;
        }
        progress.end();
        Ok(())
    }
}

/// Takes back and removes what killed builds, deletions and copies have left in `parent`.
///
/// # Errors
/// When the directory can't be read, it is interrupted, or numbers can't be taken back.
pub(in crate::build) fn sweep(
    parent: &Path,
    by: Remover<'_>,
    progress: &mut Progress,
) -> Result<()> {
    Leftovers::take_back(parent)?.remove(by, progress)
}

/// Is what is at this path the root of a killed build that wasn't complete, which goes
/// with the next? Changes nothing.
///
/// # Errors
/// When the directory that it is in can't be read.
pub(in crate::build) fn is_left(path: &Path) -> Result<bool> {
    let (_, found) = find(path.parent().unwrap_or(path))?;
    let mut journals = found.iter().filter_map(|left| Journal::read(left.directory.as_fd()));
    Ok(journals.any(|journal| journal.has_left(path)))
}

fn find(parent: &Path) -> Result<(RootDir, Vec<Left>)> {
    let failed = |cause: Errno| Error::path("read", parent, cause);
    let opened = rustix::fs::open(parent, DIRECTORY - OFlags::NOFOLLOW, Mode::empty());
    let opened = opened.map_err(failed)?;
    let left = |name: OsString| {
        let (guest, directory) = (guest_of(&name)?, take(&opened, &name)?);
        Some(Left { guest, name, directory })
    };
    let found = names_in(&opened).map_err(failed)?.into_iter().filter_map(left).collect();
    Ok((RootDir::from_fd(opened, parent), found))
}

/// Is there neither a configuration nor a root of a guest?
fn is_all_gone(paths: &Paths, guest: &GuestName) -> bool {
    let is_gone = |path: &Path| path.symlink_metadata().is_err();
    is_gone(&paths.config(guest)) && is_gone(&paths.root(guest))
}

/// Does what a build does inside go on for a while after it, or does somebody else make
/// one of that name?
fn is_in_use(guest: &GuestName, by: Remover<'_>) -> bool {
    let is_others = || guest != by.own && Lock::is_held(&by.paths.lock(guest));
    RunDir::new(by.paths, guest).has_supervisor() || is_others()
}

/// Takes its numbers from a guest of which nothing else is left.
fn release(guest: &GuestName, by: Remover<'_>) -> Result<()> {
    let is_free = || -> Result<bool> {
        Ok(is_all_gone(by.paths, guest) && ids::lookup(by.paths, guest)?.is_some())
    };
    if !is_free()? {
        return Ok(());
    }
    let lock = by.paths.lock(guest);
    let held = match guest == by.own {
        true => None,
        // Who makes one of that name now has given it numbers, perhaps.
        false => match Lock::try_now(&lock)?.filter(|held| held.is_at(&lock)) {
            None => return Ok(()),
            held => held,
        },
    };
    if is_free()? {
        ids::release(by.paths, guest)?;
    }
    if let Some(held) = held.filter(|_| !by.paths.config(guest).exists()) {
        held.remove(&lock);
    }
    Ok(())
}

/// The guest that a workspace of this name is for.
fn guest_of(name: &OsStr) -> Option<GuestName> {
    let name = name.to_str()?;
    let rest = name.strip_prefix(BUILDING).or_else(|| name.strip_prefix(DELETING))?;
    let mut parts = rest.rsplitn(3, '-');
    let mut is_number = || {
        let digits = parts.next().unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_numbered = is_number() && is_number();
    parts.next().filter(|_| is_numbered)?.parse().ok()
}

/// A workspace that nobody holds, locked. What others could have made isn't touched, nor
/// what they can look into: no workspace is so.
fn take(parent: &OwnedFd, name: &OsStr) -> Option<OwnedFd> {
    let directory = openat(parent, name, DIRECTORY, Mode::empty()).ok()?;
    let about = fstat(&directory).ok()?;
    if about.st_uid != geteuid().as_raw() || about.st_mode & OTHERS != 0 {
        return None;
    }
    lock(parent, name, &directory).ok()?.then_some(directory)
}

/// Locks a workspace that was opened by this name; false if somebody else has it, or it
/// has the name no more.
pub(super) fn lock(parent: impl AsFd, name: &OsStr, directory: &OwnedFd) -> Result<bool, Errno> {
    match flock(directory, FlockOperation::NonBlockingLockExclusive) {
        // Whoever holds the lock lives. Who lets go of it has removed its directory,
        // and the name may be another one's by now.
        Ok(()) => Ok(is_at(parent, name, directory)),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(cause) => Err(cause),
    }
}

fn is_at(parent: impl AsFd, name: &OsStr, directory: &OwnedFd) -> bool {
    let (Ok(own), Ok(named)) = (fstat(directory), statat(parent, name, AtFlags::SYMLINK_NOFOLLOW))
    else {
        return false;
    };
    (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino)
}
