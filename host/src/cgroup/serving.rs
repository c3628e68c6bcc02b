//! Leads connections to all addresses of a guest to its sockets: the map of
//! its listening sockets, and the program for the host's network that looks
//! there (`bpf::addresses`).
//!
//! There is one such program for all guests, which costs a look into a hash
//! table for each new connection to the host. The link that attaches it, and
//! the map of all guests' maps with it, are there as long as a descriptor is:
//! every guest's keeper has one, so that they outlive supervisors and go with
//! the last guest. No file system has to hold them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::bpf::addresses::{ADDRESSES, Addresses, KEY, LISTENERS, Maps, lookup};
use crate::sys::bpf::{self, Hook, Map};

/// What the program, and the map of all guests' maps, are called in the
/// kernel; and a guest's own maps.
const ALL: &str = "vserver_lookup";
const OWN: &str = "vserver_listen";

/// What they are called where one has its own program.
const ALONE: &str = "vserver_chbind";

/// The maps of a guest that runs.
#[derive(Debug)]
pub struct Serving {
    /// Of all guests' maps, by address.
    directory: Map,
    marks: Map,
    listeners: Map,
    /// Holds the program, where it isn't the keeper alone that does.
    link: Option<OwnedFd>,
}

/// By which the maps are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServingIds {
    directory: u32,
    marks: u32,
    listeners: u32,
}

impl Serving {
    /// New maps for a guest that is about to start; and the program, if no
    /// guest before has brought it along.
    ///
    /// # Errors
    /// When the kernel refuses it; E2BIG if the network has too many such
    /// programs.
    pub fn new(addresses: &Addresses) -> io::Result<Self> {
        let marks = Map::of_marks(OWN)?;
        let listeners = Map::of_sockets(OWN, KEY, LISTENERS)?;
        let (link, directory) = match find()? {
            Some(found) => found,
            None => attach(&listeners, ALL)?,
        };
        let serving = Self { directory, marks, listeners, link: Some(link) };
        serving.lead(addresses).inspect_err(|_| drop(serving.leave()))?;
        Ok(serving)
    }

    /// New maps for what isn't a guest, and a program of its own, since others
    /// may have the same addresses: nothing of theirs is changed, and nothing
    /// is left when the link is closed. Nothing is led there yet.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn alone() -> io::Result<Self> {
        let marks = Map::of_marks(OWN)?;
        let listeners = Map::of_sockets(OWN, KEY, LISTENERS)?;
        let (link, directory) = attach(&listeners, ALONE)?;
        Ok(Self { directory, marks, listeners, link: Some(link) })
    }

    /// Finds those of a guest that another supervisor has started.
    ///
    /// # Errors
    /// ENOENT if they are no more.
    pub fn open(ids: ServingIds) -> io::Result<Self> {
        Ok(Self {
            directory: Map::open(ids.directory, ALL)?,
            marks: Map::open(ids.marks, OWN)?,
            listeners: Map::open(ids.listeners, OWN)?,
            link: None,
        })
    }

    /// Those of a guest that runs, whose keeper was killed: the programs of its
    /// cgroup hold them, but nothing may lead there any more.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::new`].
    pub fn again(ids: ServingIds, addresses: &Addresses) -> io::Result<Self> {
        let marks = Map::open(ids.marks, OWN)?;
        let listeners = Map::open(ids.listeners, OWN)?;
        let (link, directory) = match find()? {
            Some(found) => found,
            None => attach(&listeners, ALL)?,
        };
        let serving = Self { directory, marks, listeners, link: Some(link) };
        serving.lead(addresses)?;
        Ok(serving)
    }

    /// By which they are found.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn ids(&self) -> io::Result<ServingIds> {
        Ok(ServingIds {
            directory: self.directory.id()?,
            marks: self.marks.id()?,
            listeners: self.listeners.id()?,
        })
    }

    /// For programs of the guest's cgroup.
    pub fn maps(&self) -> Maps {
        Maps { marks: self.marks.as_raw_fd(), listeners: self.listeners.as_raw_fd() }
    }

    /// What the guest's keeper has to hold, or whoever waits for the end.
    pub fn link(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(AsFd::as_fd)
    }

    /// Has these addresses lead to the guest, and no others.
    ///
    /// # Errors
    /// E2BIG if all guests together have too many.
    pub fn lead(&self, addresses: &Addresses) -> io::Result<()> {
        let keys: Vec<_> = addresses.keys().collect();
        keys.iter().try_for_each(|key| self.directory.set(key, &self.listeners))?;
        self.leave_all_but(&keys)
    }

    /// Has no address lead to the guest any more.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn leave(&self) -> io::Result<()> {
        self.leave_all_but(&[])
    }

    fn leave_all_but(&self, kept: &[bpf::Key]) -> io::Result<()> {
        let own = self.listeners.id()?;
        let others = self.directory.keys()?.into_iter().filter(|key| !kept.contains(key));
        // Another guest may have the address meanwhile.
        for key in others.filter(|key| self.directory.get(key).is_ok_and(|id| id == own)) {
            self.directory.remove(&key)?;
        }
        Ok(())
    }
}

/// The program that other guests have brought along, and its map.
fn find() -> io::Result<Option<(OwnedFd, Map)>> {
    let namespace = network()?.metadata()?.ino();
    for (link, program) in bpf::linked(namespace, Hook::Lookup)? {
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
fn attach(like: &Map, name: &str) -> io::Result<(OwnedFd, Map)> {
    let directory = Map::of_maps(name, like, ADDRESSES)?;
    let program = bpf::load(Hook::Lookup, name, &lookup(directory.as_raw_fd()))?;
    let link = bpf::link(network()?.as_fd(), Hook::Lookup, &program)?;
    Ok((link, directory))
}

/// The network namespace of the caller, which is the host's.
fn network() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}
