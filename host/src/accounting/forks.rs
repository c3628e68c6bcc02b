//! The processes that are made in a guest's boot, which `bpf::forks` counts.
//!
//! There is one program for all guests, since it runs for every process of the
//! host: a look into a hash table for each level of cgroups, and nothing more.
//! The link that attaches it is there as long as a descriptor is: every
//! guest's keeper has one, so that counting outlives supervisors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::bpf::addresses::ADDRESSES;
use crate::bpf::forks::{key, program};
use crate::facts;
use crate::sys::bpf::{self, Array, Hook, Map};

/// What the program, and the map of all guests' maps, are called in the
/// kernel; and a guest's own map.
const ALL: &str = "vserver_forks";
const OWN: &str = "vserver_fork";

/// Counts in a boot that begins.
#[derive(Debug)]
pub struct Forks {
    directory: Map,
    number: Array<1>,
    link: OwnedFd,
}

impl Forks {
    /// Begins at 0; nothing is counted yet. Attaches the program, if no guest
    /// before has brought it along.
    ///
    /// # Errors
    /// EPERM where the kernel lets nobody trace; EOPNOTSUPP if it doesn't
    /// describe its types.
    pub fn new() -> io::Result<Self> {
        let number = Array::make(OWN)?;
        let (link, directory) = match find()? {
            Some(found) => found,
            None => attach(&number)?,
        };
        Ok(Self { directory, number, link })
    }

    /// Counts what is made in this cgroup and below from now on.
    ///
    /// # Errors
    /// E2BIG if there are too many guests.
    pub fn count(&self, cgroup: &Path) -> io::Result<()> {
        // The inode of a cgroup is its id (kernfs).
        self.directory.set(&key(std::fs::metadata(cgroup)?.ino()), &self.number)
    }

    /// By which the number is found.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn id(&self) -> io::Result<u32> {
        self.number.id()
    }

    /// What the guest's keeper has to hold.
    pub fn link(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// How many processes have been made, where a supervisor has begun to count.
///
/// # Errors
/// ENOENT if nothing counts there any more.
pub fn made(id: u32) -> io::Result<u64> {
    let [number] = Array::<1>::open(id, OWN)?.read()?;
    Ok(number)
}

/// Ends counting there.
///
/// # Errors
/// Those of bpf(2).
pub fn end(id: u32) -> io::Result<()> {
    let Some((_, directory)) = find()? else { return Ok(()) };
    let keys = directory.keys()?.into_iter();
    for key in keys.filter(|key| directory.get(key).is_ok_and(|found| found == id)) {
        directory.remove(&key)?;
    }
    Ok(())
}

/// The program that other guests have brought along, and its map.
fn find() -> io::Result<Option<(OwnedFd, Map)>> {
    for (link, program) in bpf::tracing_forks()? {
        if bpf::name(&program)? == ALL
            && let [directory] = *bpf::maps(&program)?
        {
            return Ok(Some((link, Map::open(directory, ALL)?)));
        }
    }
    Ok(None)
}

/// Attaches it. Of two guests that start at the same time both may: then each
/// has its own.
fn attach(like: &Array<1>) -> io::Result<(OwnedFd, Map)> {
    let layout = facts::task_layout().ok_or(io::Error::from_raw_os_error(libc::EOPNOTSUPP))?;
    let directory = Map::of_maps(ALL, like, ADDRESSES)?;
    let program = bpf::load(Hook::Fork, ALL, &program(directory.as_raw_fd(), layout))?;
    let link = bpf::trace_forks(&program)?;
    Ok((link, directory))
}
