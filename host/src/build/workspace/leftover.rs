//! What killed builds, deletions and copies have left: who finds it takes it away.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;
use shared::name::GuestName;

use crate::config;
use crate::control::at_rest::{self, AtRest};
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

impl Leftovers {
    /// Finds those in a directory, for a build of this guest. A root that isn't complete
    /// goes back into its workspace at once, and what was set aside for it to its place;
    /// but what somebody uses stays.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(in crate::build) fn take_back(
        parent: &Path,
        paths: &Paths,
        own: &GuestName,
    ) -> Result<Self> {
        let (parent, mut found) = find(parent, FlockOperation::NonBlockingLockExclusive)?;
        found.retain(|Left { guest, directory, .. }| {
            let Some(journal) = Journal::read(directory.as_fd()) else { return true };
            // By another name, too.
            if journal.has_left(journal.target())
                && !matches!(config::conflict(paths, guest, journal.target(), true), Ok(None))
            {
                return false;
            }
            let held = (guest != own && journal.may_be_used()).then(|| keep_down(paths, guest));
            let is_free = !matches!(held, Some(None));
            if is_free {
                journal.take_back(directory.as_fd());
            }
            is_free
        });
        Ok(Self { parent, found })
    }

    /// Finds those of one guest, whose lock is held. What a killed build of it has put in
    /// place, or set something aside for, is left to the next build.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(in crate::build) fn of(parent: &Path, guest: &GuestName) -> Result<Self> {
        let (parent, mut found) = find(parent, FlockOperation::NonBlockingLockExclusive)?;
        found.retain(|left| {
            let workspace = left.directory.as_fd();
            left.guest == *guest
                && !Journal::read(workspace).is_some_and(|journal| journal.is_needed(workspace))
        });
        Ok(Self { parent, found })
    }

    /// Removes them. What refuses to go stays for the next.
    ///
    /// # Errors
    /// When it is interrupted.
    pub(in crate::build) fn remove(
        self,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<()> {
        self.remove_if(|_| true, |_| Ok(()), interrupt, progress)
    }

    /// The same of any guest's, and of what killed copies have left, and takes its numbers
    /// from a guest of which a killed build has left nothing else. `own` is the one whose
    /// lock is held.
    ///
    /// # Errors
    /// When it is interrupted, or the numbers can't be taken back.
    pub(in crate::build) fn remove_all(
        self,
        paths: &Paths,
        own: &GuestName,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<()> {
        // Its numbers go with it, and somebody needs them yet.
        let may_go = |guest: &_| !is_all_gone(paths, guest) || !is_in_use(paths, guest, own);
        self.remove_if(may_go, |guest| release(paths, guest, own), interrupt, progress)?;
        let swept = tree::sweep(&self.parent);
        swept.map_err(|cause| Error::path("read", self.parent.path(), cause))
    }

    fn remove_if(
        &self,
        may_go: impl Fn(&GuestName) -> bool,
        is_gone: impl Fn(&GuestName) -> Result<()>,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<()> {
        if self.found.is_empty() {
            return Ok(());
        }
        progress.lines("removing what one that was killed has left");
        let stop = || interrupt.is_asked();
        for Left { guest, name, directory } in &self.found {
            if !may_go(guest) {
                continue;
            }
            let is_there = is_at(&self.parent, name, directory);
            if is_there && remove_tree_until(&self.parent, name, &stop).is_ok() {
                is_gone(guest)?;
            }
            interrupt.check()?;
        }
        progress.end();
        Ok(())
    }
}

/// Is what is at this path the root of a killed build that wasn't complete, which goes
/// with the next? Changes nothing.
///
/// # Errors
/// When the directory that it is in can't be read.
pub(in crate::build) fn is_left(path: &Path) -> Result<bool> {
    is_any(path, |journal| journal.has_left(path))
}

/// Is what is at this path the root of a guest whose build was killed before it had done all
/// that it was to do inside? Changes nothing.
///
/// # Errors
/// When the directory that it is in can't be read.
pub(in crate::build) fn is_cut_short(path: &Path) -> Result<bool> {
    is_any(path, |journal| journal.has_cut_short(path))
}

fn is_any(path: &Path, is_it: impl Fn(&Journal) -> bool) -> Result<bool> {
    // Many may look at a time.
    let shared = FlockOperation::NonBlockingLockShared;
    let (_, found) = find(path.parent().unwrap_or(path), shared)?;
    let mut journals = found.iter().filter_map(|left| Journal::read(left.directory.as_fd()));
    Ok(journals.any(|journal| is_it(&journal)))
}

fn find(parent: &Path, how: FlockOperation) -> Result<(RootDir, Vec<Left>)> {
    let failed = |cause: Errno| Error::path("read", parent, cause);
    let opened = rustix::fs::open(parent, DIRECTORY - OFlags::NOFOLLOW, Mode::empty());
    let opened = opened.map_err(failed)?;
    let left = |name: OsString| {
        let (guest, directory) = (guest_of(&name)?, take(&opened, &name, how)?);
        Some(Left { guest, name, directory })
    };
    let found = names_in(&opened).map_err(failed)?.into_iter().filter_map(left).collect();
    Ok((RootDir::from_fd(opened, parent), found))
}

/// Keeps a guest down as long as what it gives is there; `None` if somebody is at work with
/// it, or has started it.
fn keep_down(paths: &Paths, guest: &GuestName) -> Option<(Lock, AtRest)> {
    let path = paths.lock(guest);
    let lock = Lock::try_now(&path).ok()?.filter(|lock| lock.is_at(&path))?;
    if RunDir::new(paths, guest).has_supervisor() {
        return None;
    }
    Some((lock, at_rest::keep(paths, guest).ok()?))
}

/// Is there neither a configuration nor a root of a guest?
fn is_all_gone(paths: &Paths, guest: &GuestName) -> bool {
    let is_gone = |path: &Path| path.symlink_metadata().is_err();
    is_gone(&paths.config(guest)) && is_gone(&paths.root(guest))
}

/// Does what a build does inside go on for a while after it, or does somebody else make
/// one of that name?
fn is_in_use(paths: &Paths, guest: &GuestName, own: &GuestName) -> bool {
    let is_others = || guest != own && Lock::is_held(&paths.lock(guest));
    RunDir::new(paths, guest).has_supervisor() || is_others()
}

/// Takes its numbers from a guest of which nothing else is left.
fn release(paths: &Paths, guest: &GuestName, own: &GuestName) -> Result<()> {
    let is_free = || -> Result<bool> {
        Ok(is_all_gone(paths, guest) && ids::lookup(paths, guest)?.is_some())
    };
    if !is_free()? {
        return Ok(());
    }
    let lock = paths.lock(guest);
    let held = match guest == own {
        true => None,
        // Who makes one of that name now has given it numbers, perhaps.
        false => match Lock::try_now(&lock)?.filter(|held| held.is_at(&lock)) {
            None => return Ok(()),
            held => held,
        },
    };
    if is_free()? {
        ids::release(paths, guest)?;
    }
    if let Some(held) = held.filter(|_| !paths.config(guest).exists()) {
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
fn take(parent: &OwnedFd, name: &OsStr, how: FlockOperation) -> Option<OwnedFd> {
    let directory = openat(parent, name, DIRECTORY, Mode::empty()).ok()?;
    let about = fstat(&directory).ok()?;
    if about.st_uid != geteuid().as_raw() || about.st_mode & OTHERS != 0 {
        return None;
    }
    lock(parent, name, &directory, how).ok()?.then_some(directory)
}

/// Locks a workspace that was opened by this name; false if somebody else has it, or it
/// has the name no more.
pub(super) fn lock(
    parent: impl AsFd,
    name: &OsStr,
    directory: &OwnedFd,
    how: FlockOperation,
) -> Result<bool, Errno> {
    match flock(directory, how) {
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
