//! The processes that are made in a guest's boot, which `bpf::forks` counts.
//!
//! There is one program for all guests, since it runs for every process of the
//! host: a look into a hash table for each level of cgroups, and nothing more.
//! The link that attaches it is there as long as a descriptor is: every
//! guest's keeper has one, so that counting outlives supervisors.

use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::bpf::addresses::ADDRESSES;
use crate::bpf::forks::{LEVELS, key, program};
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
    /// before has brought it along: of two that do this at the same time both
    /// would, so the caller holds a lock.
    ///
    /// # Errors
    /// EPERM where the kernel lets nobody trace; EOPNOTSUPP if it doesn't
    /// describe its types.
    pub fn new() -> io::Result<Self> {
        let number = Array::make(OWN)?;
        let (link, directory) = match find()?.into_iter().next() {
            Some(found) => found,
            None => attach(&number)?,
        };
        Ok(Self { directory, number, link })
    }

    /// Counts what is made in this cgroup and below from now on.
    ///
    /// # Errors
    /// E2BIG if there are too many guests; when the cgroup is deeper than the
    /// program looks.
    pub fn count(&self, cgroup: &Path) -> io::Result<()> {
        let level = level(cgroup)?;
        if level > LEVELS.into() {
            let text = format!("its cgroup is {level} levels deep, and {LEVELS} are looked at");
            return Err(io::Error::other(text));
        }
        // The inode of a cgroup is its id (kernfs).
        self.directory.set(&key(fs::metadata(cgroup)?.ino()), &self.number)
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

/// How many processes have been made in a boot. The number is there as long as
/// this, or the guest's keeper.
#[derive(Debug)]
pub struct Made(Array<1>);

impl Made {
    /// Finds what a supervisor has begun.
    ///
    /// # Errors
    /// ENOENT if nothing counts there any more.
    pub fn open(id: u32) -> io::Result<Self> {
        Array::open(id, OWN).map(Self)
    }

    /// Until now.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn read(&self) -> io::Result<u64> {
        let [number] = self.0.read()?;
        Ok(number)
    }
}

/// What a guest's keeper has to hold, for whoever starts another one: the link of
/// the program that counts there.
///
/// # Errors
/// ENOENT if it has gone; those of bpf(2).
pub fn link_of(id: u32) -> io::Result<OwnedFd> {
    for (link, directory) in find()? {
        if directory.keys()?.iter().any(|key| directory.get(key).is_ok_and(|found| found == id)) {
            return Ok(link);
        }
    }
    Err(io::Error::from_raw_os_error(libc::ENOENT))
}

/// Says that nobody counts: a guest starts without it.
pub fn uncounted(error: &dyn Display) {
    tracing::warn!("the guest's processes aren't counted: {error}");
}

/// Ends counting there.
///
/// # Errors
/// Those of bpf(2).
pub fn end(id: u32) -> io::Result<()> {
    for (_, directory) in find()? {
        let keys = directory.keys()?.into_iter();
        for key in keys.filter(|key| directory.get(key).is_ok_and(|found| found == id)) {
            directory.remove(&key)?;
        }
    }
    Ok(())
}

/// The programs that other guests have brought along, and their maps: one,
/// unless vservers with different directories have begun at the same time.
fn find() -> io::Result<Vec<(OwnedFd, Map)>> {
    let mut found = Vec::new();
    for (link, program) in bpf::tracing_forks()? {
        if bpf::name(&program)? == ALL
            && let [directory] = *bpf::maps(&program)?
        {
            found.push((link, Map::open(directory, ALL)?));
        }
    }
    Ok(found)
}

/// How many levels below the root of its hierarchy a cgroup is, as far as this
/// cgroup namespace shows.
fn level(cgroup: &Path) -> io::Result<usize> {
    let device = fs::metadata(cgroup)?.dev();
    let is_one = |above: &&Path| fs::metadata(above).is_ok_and(|found| found.dev() == device);
    Ok(cgroup.ancestors().skip(1).take_while(is_one).count())
}

/// Attaches it.
fn attach(like: &Array<1>) -> io::Result<(OwnedFd, Map)> {
    let layout = facts::task_layout().ok_or(io::Error::from_raw_os_error(libc::EOPNOTSUPP))?;
    let directory = Map::of_maps(ALL, like, ADDRESSES)?;
    let program = bpf::load(Hook::Fork, ALL, &program(directory.as_raw_fd(), layout))?;
    let link = bpf::trace_forks(&program)?;
    Ok((link, directory))
}
