//! What the supervisor does about its guest's addresses: before a boot, and
//! after it.

use crate::control::Event as Told;
use crate::error::Result;
use crate::facts::Forwarding;
use crate::net;
use crate::plan::Network;
use crate::plan::network::long_name;

use super::Supervisor;

impl Supervisor {
    /// Refuses addresses that others have; says if they will be of no use.
    ///
    /// # Errors
    /// Whose an address is.
    pub(super) fn check_addresses(&mut self) -> Result<()> {
        let Network::Routed(link) = &self.plan.network else { return Ok(()) };
        net::refuse_foreign(&self.plan.name, link)?;
        if !Forwarding::read().serves(&link.addresses) {
            let text = "the host doesn't pass packets on, so the guest reaches nothing but the \
                        host; 'vserver doctor' says how to change that";
            tracing::warn!("{text}");
            self.clients.tell(&Told::Note(text.to_owned()));
        }
        Ok(())
    }

    /// Notes the addresses of the boot that begins.
    pub(super) fn note_addresses(&mut self) {
        self.state.addresses = self.plan.network.addresses().to_vec();
        self.state.proxy = match &self.plan.network {
            Network::Routed(link) => link.proxy.clone(),
            Network::None | Network::Shared(_) => None,
        };
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
