//! What the guest's network loses on the host's side while the guest runs: looked for
//! with each account, and when `vserver reload` asks.

use std::mem;

use crate::error::{Error, Result};
use crate::net::{self, Fault};
use crate::plan::{Link, Network};

use super::Supervisor;

impl Supervisor {
    /// Mends what is missing and notes what nobody here can mend, which is returned;
    /// each is told once.
    pub(super) fn mend_link(&mut self) -> Vec<Fault> {
        let left = self.mend_what_can_be();
        let texts: Vec<String> = left.iter().map(|fault| self.with_remedy(fault)).collect();
        let before = mem::replace(&mut self.state.faults, texts);
        if before != self.state.faults {
            for fault in self.state.faults.iter().filter(|fault| !before.contains(fault)) {
                tracing::warn!("{fault}");
            }
            if self.state.faults.is_empty() {
                tracing::info!("the guest's network is whole again");
            }
            self.note_state();
        }
        left
    }

    /// What is told of it.
    pub(super) fn with_remedy(&self, fault: &Fault) -> String {
        match fault.remedy(self.plan.name.as_str()) {
            Some(remedy) => format!("{fault} ({remedy})"),
            None => fault.to_string(),
        }
    }

    /// The same for somebody who waits for it.
    ///
    /// # Errors
    /// What can't be mended, and the remedy.
    pub(super) fn mend_link_for_caller(&mut self) -> Result<()> {
        let left = self.mend_link();
        let Some(fault) = left.first() else { return Ok(()) };
        let name = &self.plan.name;
        let error = Error::new(format!("the network of guest '{name}' isn't whole: {fault}"));
        Err(match fault.remedy(name.as_str()) {
            Some(remedy) => error.hint(remedy),
            None => error,
        })
    }

    /// Returns what is left.
    fn mend_what_can_be(&self) -> Vec<Fault> {
        if self.keeper.is_none() || self.state.addresses.is_empty() {
            return Vec::new();
        }
        let link = match &self.plan.network {
            Network::Linked(link) => link,
            // The host's addresses are its administrator's.
            Network::Shared(_) => return net::strange(&self.state.addresses).unwrap_or_default(),
            Network::None => return Vec::new(),
        };
        let look = |link: &Link| {
            let found = net::look(link);
            found.inspect_err(|error| tracing::debug!("cannot look at the guest's link: {error}"))
        };
        match look(link) {
            Ok(faults) if !faults.is_empty() => {}
            _ => return Vec::new(),
        }
        // The plan of one that has taken over is by what the file says now.
        let Some(link) = self.link_of_boot() else { return Vec::new() };
        let mut left = Vec::new();
        let mut is_mended = false;
        for fault in look(&link).unwrap_or_default() {
            if fault.remedy("").is_some() {
                left.push(fault);
                continue;
            }
            match net::mend(&link, &fault) {
                Ok(()) => {
                    is_mended = true;
                    tracing::warn!("{fault}: mended");
                }
                Err(error) => tracing::error!("{fault}, and that can't be mended: {error}"),
            }
        }
        if is_mended && let Err(error) = net::announce(&link) {
            tracing::warn!("cannot announce the guest's addresses: {error}");
        }
        left
    }

    /// The link as this boot was started with it.
    fn link_of_boot(&self) -> Option<Link> {
        match self.planner.plan_of_boot()?.network {
            Network::Linked(link) => Some(link),
            _ => None,
        }
    }
}
