//! The end of a guest: scripts of runlevel 0 or 6, SIGTERM, a grace, SIGKILL,
//! buffers to disk, reboot(2). A deadline cuts all of that short.

use shared::message::{BootMode, FromGuest, Power, Runlevel, Style};
use shared::outcome::Outcome;

use super::{Effect, Machine, Millis, Phase, Stop};
use crate::environment;

/// How long ends are waited for after SIGKILL: only a process inside the
/// kernel needs longer.
const KILL_TIME: Millis = 2_000;

/// How long buffers may take to be written. The host goes on running, so
/// nothing is lost when they take longer.
const SYNC_TIME: Millis = 3_000;

/// As [`SYNC_TIME`], once the deadline has passed.
const LATE_SYNC_TIME: Millis = 200;

impl Machine {
    /// Begins a shutdown, or changes one: the supervisor's word for what
    /// comes after it wins over the guest's own, the earlier deadline over
    /// the later.
    pub(super) fn stop(&mut self, power: Power, deadline: Option<Millis>, ordered: bool) {
        if let Some(stop) = &mut self.stop {
            stop.deadline = [stop.deadline, deadline].into_iter().flatten().min();
            if ordered && !matches!(self.phase, Phase::Over) {
                let changed = stop.power != power;
                (stop.power, stop.ordered) = (power, true);
                if changed {
                    self.send_state();
                }
            }
            return;
        }
        self.stop = Some(Stop { power, ordered, deadline });
        if !ordered {
            self.out.push(Effect::Send(FromGuest::Requested(power)));
        }
        let level = match power {
            Power::Reboot => Runlevel::REBOOT,
            Power::Halt | Power::PowerOff => Runlevel::HALT,
        };
        // Debian's halt script decides by it.
        let word = if power == Power::Halt { "HALT" } else { "POWEROFF" };
        environment::set(&mut self.variables, "INIT_HALT", word);
        self.begin_level(level);
        if self.order.mode == BootMode::Boot {
            self.send_state();
        } else {
            self.enter(Phase::Terminating(self.grace()));
        }
    }

    /// When the time after SIGTERM is over.
    pub(super) fn grace(&self) -> Millis {
        self.now + Millis::from(self.order.kill_grace_ms)
    }

    /// The one command has ended, and the guest with it: in order, or, where
    /// it fails by itself or can't be executed, as a crash.
    pub(super) fn only_ended(&mut self, outcome: Outcome) {
        let may_fail = self.style != Style::Command && self.phase == Phase::Up;
        if may_fail || outcome.success() || self.stop.is_some() {
            return self.stop(Power::PowerOff, None, false);
        }
        if self.phase == Phase::Up {
            self.note(format!("the guest's command has failed: {outcome}"));
        }
        self.phase = Phase::Over;
        self.out.push(Effect::Exit(outcome.code()));
    }

    /// No other process is left.
    pub(super) fn alone(&mut self) {
        if self.wants_alone() {
            self.enter(Phase::Syncing(self.now + self.sync_time()));
        }
    }

    /// Must [`super::Event::Alone`] be told?
    pub fn wants_alone(&self) -> bool {
        matches!(self.phase, Phase::Terminating(_) | Phase::Killing(_))
    }

    fn is_late(&self) -> bool {
        self.stop.and_then(|stop| stop.deadline).is_some_and(|deadline| deadline <= self.now)
    }

    fn sync_time(&self) -> Millis {
        if self.is_late() { LATE_SYNC_TIME } else { SYNC_TIME }
    }

    /// Does what is due in a shutdown.
    pub(super) fn clock_shutdown(&mut self) {
        let late = self.is_late();
        match self.phase {
            Phase::Over => {}
            Phase::Syncing(until) if until <= self.now => self.enter(Phase::Over),
            Phase::Syncing(_) => {}
            Phase::Killing(until) if until <= self.now => {
                self.enter(Phase::Syncing(self.now + self.sync_time()));
            }
            // Again: SIGKILL reaches those that exist at the moment.
            Phase::Killing(_) => self.out.push(Effect::SignalAll(super::Kill::Kill)),
            Phase::Terminating(until) if until <= self.now || late => {
                self.enter(Phase::Killing(self.now + KILL_TIME));
            }
            _ if late => self.enter(Phase::Killing(self.now + KILL_TIME)),
            _ => {}
        }
    }
}
