//! What killed builds, deletions and copies have left: who finds it takes it away.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;
use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::fsroot::{RootDir, names_in, remove_tree_until};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
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
    parent: OwnedFd,
    found: Vec<(OsString, OwnedFd)>,
    guests: BTreeSet<GuestName>,
}

impl Leftovers {
    /// Finds those in a directory. A root that isn't complete goes back into its
    /// workspace at once, and what was set aside for it to its place.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(in crate::build) fn take_back(parent: &Path) -> Result<Self> {
        let failed = |cause: Errno| Error::path("read", parent, cause);
        let directory = rustix::fs::open(parent, DIRECTORY - OFlags::NOFOLLOW, Mode::empty());
        let directory = directory.map_err(failed)?;
        let (mut found, mut guests) = (Vec::new(), BTreeSet::new());
        for name in names_in(&directory).map_err(failed)? {
            let Some(guest) = guest_of(&name) else { continue };
            let Some(left) = take(&directory, &name) else { continue };
            if let Some(journal) = Journal::read(left.as_fd()) {
                journal.take_back(left.as_fd());
            }
            guests.insert(guest);
            found.push((name, left));
        }
        Ok(Self { parent: directory, found, guests })
    }

    /// Whose they are.
    pub(in crate::build) fn guests(&self) -> &BTreeSet<GuestName> {
        &self.guests
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
        if self.found.is_empty() {
            return Ok(());
        }
        progress.lines("removing what one that was killed has left");
        for (name, directory) in &self.found {
            if is_at(&self.parent, name, directory) {
                let _ = remove_tree_until(&self.parent, name, &|| interrupt.is_asked());
            }
            interrupt.check()?;
        }
        progress.end();
        Ok(())
    }
}

/// Removes what killed builds, deletions and copies have left in `parent`, and gives the
/// guests for whom that was.
///
/// # Errors
/// When the directory can't be read, or it is interrupted.
pub(in crate::build) fn sweep(
    parent: &Path,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<BTreeSet<GuestName>> {
    let left = Leftovers::take_back(parent)?;
    let guests = left.guests().clone();
    left.remove(interrupt, progress)?;
    let swept = tree::sweep(&RootDir::open(parent)?);
    swept.map_err(|cause| Error::path("read", parent, cause))?;
    Ok(guests)
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
