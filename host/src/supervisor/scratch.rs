//! What an ephemeral guest writes: found, used from its start to its end, and
//! removed.

use crate::storage::Scratch;

use super::Supervisor;

impl Supervisor {
    /// The guest runs: does it write there?
    pub(super) fn find_scratch(&mut self) {
        let scratch = self.scratch();
        self.use_scratch(Some(scratch).filter(Scratch::is_used));
    }

    /// The guest is to be started: has whoever ordered that said that it is to
    /// write there?
    pub(super) fn take_scratch(&mut self) {
        let scratch = self.scratch();
        let is_ordered = scratch.take().unwrap_or_else(|error| {
            tracing::warn!("{error}");
            false
        });
        self.use_scratch(Some(scratch).filter(|_| is_ordered));
    }

    /// Removes what was written there.
    pub(super) fn forget(&mut self) {
        if let Some(Err(error)) = self.planner.scratch.take().map(|scratch| scratch.remove()) {
            tracing::warn!("{error}");
        }
    }

    fn scratch(&self) -> Scratch {
        Scratch::new(&self.plan.name, &self.plan.place.root)
    }

    /// Until the guest's end, over all its boots.
    fn use_scratch(&mut self, scratch: Option<Scratch>) {
        self.plan.scratch = scratch.as_ref().map(|scratch| scratch.path().to_owned());
        self.planner.scratch = scratch;
    }
}
