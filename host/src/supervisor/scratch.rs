//! What an ephemeral guest writes: found, used from its start to its end, and
//! removed.

use std::time::Duration;

use shared::message::BootMode;

use crate::error::Result;
use crate::storage::Scratch;
use crate::sys::{self, Cloned};

use super::Supervisor;
use super::dying::has_ended_by;

/// As long as this, what is removed is waited for: mostly it is little, and gone
/// when the guest is.
const MOMENT: Duration = Duration::from_secs(2);

impl Supervisor {
    /// The guest runs: does it write there?
    pub(super) fn find_scratch(&mut self) {
        let scratch = self.scratch();
        self.use_scratch(Some(scratch).filter(Scratch::is_used));
    }

    /// The guest is to be started: has whoever ordered that said that it is to
    /// write there? Sessions of a stopped guest never do.
    ///
    /// # Errors
    /// When it is to, and can't: it must not keep what is to be forgotten.
    pub(super) fn take_scratch(&mut self) -> Result<()> {
        if self.plan.boot.mode == BootMode::Idle {
            return Ok(());
        }
        let scratch = self.scratch();
        let is_taken = scratch.take()?;
        self.use_scratch(Some(scratch).filter(|_| is_taken));
        Ok(())
    }

    /// Removes what was written there. That may take its time, and nobody is to
    /// wait for it: a process of its own does it.
    pub(super) fn forget(&mut self) {
        let Some(scratch) = self.planner.scratch.take() else { return };
        match sys::fork() {
            Ok(Cloned::Child) => {
                // Nobody takes it for the supervisor, whose lock these are.
                let _ = sys::close_from(3);
                let _ = scratch.remove();
                sys::exit_now(0);
            }
            Ok(Cloned::Parent { pidfd, .. }) => {
                let _ = has_ended_by(&pidfd, MOMENT);
            }
            Err(error) => {
                tracing::warn!("cannot fork: {error}");
                if let Err(error) = scratch.remove() {
                    tracing::warn!("{error}");
                }
            }
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
