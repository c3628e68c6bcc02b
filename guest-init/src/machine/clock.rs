//! What is due when: the machine's timers.

use super::{Machine, Millis, Phase};

/// How often it is looked whether processes are left: those that were entered
/// from the host are no children, so no signal tells of their end.
const LOOK_AGAIN: Millis = 50;

impl Machine {
    /// Does what has become due.
    pub(super) fn clock(&mut self) {
        let now = self.now;
        self.hold_until = self.hold_until.filter(|until| *until > now);
        for slot in &mut self.slots {
            slot.disabled_until = slot.disabled_until.filter(|until| *until > now);
        }
        self.clock_endings();
        self.drop_aborted_rc();
        self.clock_shutdown();
    }

    /// When [`Self::step`] has to be called again at the latest; `None`: when
    /// something happens.
    pub fn next_deadline(&self) -> Option<Millis> {
        let phase = match self.phase {
            Phase::Syncing(until) => Some(until),
            Phase::Terminating(until) | Phase::Killing(until) => {
                Some(until.min(self.now + LOOK_AGAIN))
            }
            _ => None,
        };
        let stop = self
            .stop
            .filter(|_| !matches!(self.phase, Phase::Killing(_) | Phase::Syncing(_) | Phase::Over));
        self.ending
            .values()
            .map(|ending| ending.next)
            .chain(self.slots.iter().filter_map(|slot| slot.disabled_until))
            .chain(self.hold_until)
            .chain(stop.and_then(|stop| stop.deadline))
            .chain(phase)
            .filter(|_| self.phase != Phase::Over)
            .min()
    }
}
