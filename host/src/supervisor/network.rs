//! What the supervisor does about its guest's addresses: before a boot, and
//! after it.

use std::fs::{self, File};

use shared::name::GuestName;

use crate::cgroup::GuestCgroup;
use crate::control::Event as Told;
use crate::error::{Error, Result};
use crate::facts::Forwarding;
use crate::net;
use crate::plan::Network;
use crate::plan::network::long_name;
use crate::runtime::{RunDir, State};

use super::Supervisor;

impl Supervisor {
    /// Takes the addresses of the boot that begins: refuses those that others
    /// have, and notes the guest's own. Says if they will be of no use.
    ///
    /// # Errors
    /// Whose an address is.
    pub(super) fn take_addresses(&mut self) -> Result<()> {
        self.state.addresses.clear();
        self.state.proxy = None;
        if self.plan.network.addresses().is_empty() {
            return Ok(());
        }
        // Of two that start at the same time, the second sees the first.
        let directory = self.planner.paths.run_dir();
        let held =
            File::open(&directory).and_then(|directory| directory.lock().map(|()| directory));
        let held = held.map_err(|error| Error::path("lock", &directory, error))?;
        self.refuse_others()?;
        if let Network::Routed(link) = &self.plan.network {
            net::refuse_foreign(&self.plan.name, link)?;
            self.state.proxy.clone_from(&link.proxy);
            if !Forwarding::read().serves(&link.addresses) {
                let text = "the host doesn't pass packets on, so the guest reaches nothing but \
                            the host; 'vserver doctor' says how to change that";
                tracing::warn!("{text}");
                self.clients.tell(&Told::Note(text.to_owned()));
            }
        }
        self.state.addresses = self.plan.network.addresses().to_vec();
        let written = self.state.write(&self.run.state());
        drop(held);
        written.map_err(|error| Error::path("write", &self.run.state(), error))
    }

    /// Refuses an address that another guest runs with, however it is joined.
    fn refuse_others(&self) -> Result<()> {
        let paths = &self.planner.paths;
        let own = self.plan.network.addresses();
        let entries = fs::read_dir(paths.run_dir()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for other in names.filter(|other: &GuestName| *other != self.plan.name) {
            let theirs = State::read(&RunDir::new(paths, &other).state()).addresses;
            let both = own.iter().find(|address| theirs.contains(address));
            let Some(address) = both.filter(|_| self.is_there(&other)) else { continue };
            let name = &self.plan.name;
            let text = format!(
                "cannot start guest '{name}' with {address}: it is the address of guest '{other}'"
            );
            return Err(Error::new(text).hint(format!(
                "give it another: vserver config set {name} network.addresses A..."
            )));
        }
        Ok(())
    }

    /// Does this guest run, or is it about to? Its state may be what an end
    /// of everything has left.
    fn is_there(&self, other: &GuestName) -> bool {
        let paths = &self.planner.paths;
        let runs = GuestCgroup::new(paths, other)
            .is_ok_and(|cgroup| GuestCgroup::populated(cgroup.outer()));
        runs || RunDir::new(paths, other).has_supervisor()
    }

    /// Removes the link of a boot that has ended, and what stands elsewhere
    /// because of its addresses.
    pub(super) fn remove_link(&self) {
        let link = long_name(&self.plan.name, &self.planner.paths.instance());
        if let Err(error) = net::remove(&link) {
            tracing::error!("cannot remove the guest's link: {error}");
        }
        let Some(interface) = &self.state.proxy else { return };
        if let Err(error) = net::end_proxy(interface, &self.state.addresses) {
            tracing::error!("cannot end answering for the guest on '{interface}': {error}");
        }
    }
}
