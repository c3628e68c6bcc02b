//! What the supervisor does about its guest's addresses: before a boot, and
//! after it.

use std::fs;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use shared::name::GuestName;

use crate::accounting::Traffic;
use crate::bpf::addresses::{Addresses, Means};
use crate::cgroup::{self, GuestCgroup, Serving};
use crate::control::Event as Told;
use crate::error::{Error, Result};
use crate::facts::{self, Forwarding};
use crate::net;
use crate::paths::Paths;
use crate::plan::{Far, Link, Network};
use crate::runtime::{Lock, RunDir, State};

use super::{Supervisor, aftermath};

/// How long others may take for what one does at a time.
const PATIENCE: Duration = Duration::from_secs(10);

/// From one announcement of addresses to the next, of two (RFC 5227 §1.1,
/// `ANNOUNCE_INTERVAL`): the first may get lost while a link comes up.
pub(super) const ANNOUNCEMENTS: Duration = Duration::from_secs(2);

/// Between two looks whether they are done.
const PAUSE: Duration = Duration::from_millis(5);

impl Supervisor {
    /// Takes the addresses of the boot that begins: refuses those that others
    /// have, and notes the guest's own. Says if they will be of no use.
    ///
    /// # Errors
    /// Whose an address is.
    pub(super) fn take_addresses(&mut self) -> Result<()> {
        let taken = self.try_take_addresses();
        if taken.is_err() {
            // Those of the boot before are free.
            self.note_state();
        }
        taken
    }

    fn try_take_addresses(&mut self) -> Result<()> {
        self.state.addresses.clear();
        self.state.proxy = None;
        self.state.traffic = None;
        self.traffic = None;
        self.state.serving = None;
        self.serving = None;
        self.state.loopback = None;
        self.state.faults.clear();
        if self.plan.network.addresses().is_empty() {
            return Ok(());
        }
        let held = self.hold_starts()?;
        self.refuse_others(&self.plan.network.addresses())?;
        if let Network::Linked(link) = &self.plan.network {
            if let Far::Segment { door, .. } = &link.far {
                net::refuse_missing(&self.plan.name, door)?;
            }
            net::refuse_foreign(&self.plan.name, link)?;
        }
        if let Network::Linked(Link { far: Far::Host { proxy }, .. }) = &self.plan.network {
            self.state.proxy.clone_from(proxy);
            if !Forwarding::read().serves(&self.plan.network.addresses()) {
                let text = "the host doesn't pass packets on, so the guest reaches nothing but \
                            the host; 'vserver doctor' says how to change that";
                tracing::warn!("{text}");
                self.clients.tell(&Told::Note(text.to_owned()));
            }
        }
        if let Network::Shared(shared) = &self.plan.network {
            self.state.loopback = shared.allowed.loopback6.filter(|address| {
                // A host without IPv6 has no use for it either.
                net::add_loopback(*address)
                    .inspect_err(|error| tracing::debug!("no loopback address {address}: {error}"))
                    .is_ok()
            });
            let strange = net::strange(&shared.addresses).unwrap_or_default();
            self.state.faults = strange.iter().map(|fault| self.with_remedy(fault)).collect();
            for fault in &self.state.faults {
                tracing::warn!("{fault}");
                self.clients.tell(&Told::Note(fault.clone()));
            }
        }
        self.serve_all();
        let counted = Traffic::new().and_then(|traffic| Ok((traffic.id()?, traffic)));
        let (id, traffic) = counted.map_err(|error| {
            Error::os(format_args!("cannot count the traffic of guest '{}'", self.plan.name), error)
        })?;
        (self.state.traffic, self.traffic) = (Some(id), Some(traffic));
        self.state.addresses = self.plan.network.addresses();
        let written = self.state.write(&self.run.state());
        drop(held);
        written.map_err(|error| Error::path("write", &self.run.state(), error))
    }

    /// Lets sockets of a guest on the host's own stack serve all of its
    /// addresses, if the kernel has the means.
    fn serve_all(&mut self) {
        let Network::Shared(shared) = &self.plan.network else { return };
        let serving =
            Serving::new(&shared.allowed).and_then(|serving| Ok((serving.ids()?, serving)));
        match serving {
            Ok((ids, serving)) => {
                (self.state.serving, self.serving) = (Some(ids), Some(serving));
            }
            Err(error) => tracing::warn!(
                "a socket that is bound to any address serves one address only: {error}"
            ),
        }
    }

    /// The maps of the guest's listening sockets.
    fn serving(&mut self) -> Option<&Serving> {
        if self.serving.is_none() {
            self.serving = self.state.serving.and_then(|ids| Serving::open(ids).ok());
        }
        self.serving.as_ref()
    }

    /// Tells the guest's network where its addresses are.
    pub(super) fn announce_addresses(&self) {
        let Network::Linked(link) = &self.plan.network else { return };
        if let Err(error) = net::announce(link) {
            tracing::warn!("cannot announce the guest's addresses: {error}");
        }
    }

    /// Gives a guest on the host's own stack the addresses that are configured
    /// now, and one with a link what that has lost. Sockets that are open stay, and send and receive nothing at
    /// addresses that are the guest's no longer. A guest that is joined
    /// otherwise, or is to be, keeps what it has, and one that is down between
    /// two boots gets them with the next.
    ///
    /// # Errors
    /// Whose an address is; when the kernel refuses a program, or the state
    /// file can't be written. Nothing is changed then. What a link has lost and
    /// can't be given.
    pub(super) fn change_addresses(&mut self) -> Result<()> {
        if self.keeper.is_none() {
            return Ok(());
        }
        if let Network::Linked(_) = &self.plan.network {
            return self.mend_link_for_caller();
        }
        let planned = self.planner.plan_of_running()?.network;
        let (Network::Shared(old), Network::Shared(new)) = (&self.plan.network, &planned) else {
            return Ok(());
        };
        let (old, new) = (old.clone(), new.clone());
        let held = self.hold_starts()?;
        self.refuse_others(&new.addresses)?;
        let before = mem::replace(&mut self.state.addresses, new.addresses.clone());
        if let Err(error) = self.put_addresses(&new.allowed) {
            self.state.addresses = before;
            self.note_state();
            if let Some(Err(error)) = self.serving().map(|serving| serving.lead(&old.allowed)) {
                tracing::error!("cannot lead connections to where they were: {error}");
            }
            return Err(error);
        }
        tracing::info!(addresses = ?new.addresses, "the guest has other addresses");
        self.plan.network = planned;
        drop(held);
        // The host may lack some of them.
        let _ = self.mend_link();
        Ok(())
    }

    /// Writes the addresses down, for others that look for theirs, leads
    /// connections there, then has the kernel hold the guest to them: all but
    /// the last can be put back.
    fn put_addresses(&mut self, allowed: &Addresses) -> Result<()> {
        let written = self.state.write(&self.run.state());
        written.map_err(|error| Error::path("write", &self.run.state(), error))?;
        let (layout, is_counted) = (facts::kernel_layout(), self.state.traffic.is_some());
        let traffic = self.traffic().map(Traffic::map);
        if is_counted && traffic.is_none() {
            // The programs that go would take what they have counted with them.
            let name = &self.plan.name;
            return Err(Error::new(format!(
                "cannot change the addresses of guest '{name}': what counts its traffic isn't found"
            ))
            .hint(format!("try again; else the next boot counts anew: vserver reboot {name}")));
        }
        let led = self.serving().map_or(Ok(None), |serving| {
            serving.lead(allowed)?;
            Ok(Some(serving.maps()))
        });
        let outer = self.cgroup.outer();
        let set = |maps| cgroup::set_addresses(outer, allowed, Means { layout, maps, traffic });
        led.and_then(set).map_err(|error| {
            let name = &self.plan.name;
            Error::os(format_args!("cannot change the addresses of guest '{name}'"), error)
        })
    }

    /// Keeps others from taking addresses, and from attaching what all guests
    /// share, until the file is dropped: of two that start at the same time, the
    /// second sees the first.
    pub(super) fn hold_starts(&self) -> Result<Lock> {
        let path = self.planner.paths.starts_lock();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Lock::try_now(&path)? {
                Some(lock) => return Ok(lock),
                None if Instant::now() < deadline => thread::sleep(PAUSE),
                None => {
                    return Err(Error::path(
                        "lock",
                        &path,
                        io::Error::from(io::ErrorKind::TimedOut),
                    ));
                }
            }
        }
    }

    /// Refuses an address that another guest runs with, however it is joined.
    fn refuse_others(&self, own: &[IpAddr]) -> Result<()> {
        let (paths, name) = (&self.planner.paths, &self.plan.name);
        let other_with = |address| Some((address, other_with(paths, name, address)?));
        let Some((address, other)) = own.iter().find_map(other_with) else { return Ok(()) };
        let text =
            format!("guest '{name}' can't have {address}: it is the address of guest '{other}'");
        Err(Error::new(text)
            .hint(format!("give it another: vserver config set {name} network.addresses A...")))
    }

    /// Removes the link of a boot that has ended, and what stands elsewhere
    /// because of its addresses.
    pub(super) fn remove_link(&mut self) {
        // Found, if a supervisor before has begun it.
        let _ = self.serving();
        let serving = self.serving.take();
        let (paths, name) = (&self.planner.paths, &self.plan.name);
        for error in aftermath::remove_link(paths, name, &self.state, serving.as_ref()) {
            tracing::error!("{error}");
        }
    }
}

/// Another guest than this one that runs with this address.
pub(super) fn other_with(paths: &Paths, name: &GuestName, address: &IpAddr) -> Option<GuestName> {
    let entries = fs::read_dir(paths.run_dir()).into_iter().flatten().flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    names.find(|other: &GuestName| {
        other != name
            && State::read(&RunDir::new(paths, other).state()).addresses.contains(address)
            && is_there(paths, other)
    })
}

/// Does this guest run, or is it about to? Its state may be what an end
/// of everything has left.
fn is_there(paths: &Paths, other: &GuestName) -> bool {
    let runs =
        GuestCgroup::new(paths, other).is_ok_and(|cgroup| GuestCgroup::populated(cgroup.outer()));
    runs || RunDir::new(paths, other).has_supervisor()
}
