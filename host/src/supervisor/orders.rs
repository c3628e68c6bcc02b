//! What the next supervisor goes on with if this one is killed: orders to stop, and
//! boots that are due.

use std::mem;
use std::time::Duration;

use crate::plan::milliseconds;
use crate::runtime::{Order, State};

use super::state::{Event, Stop};
use super::{Supervisor, now_ms};

impl Supervisor {
    /// Notes what somebody on the host has ordered: how the boot ends doesn't tell
    /// that, if PID 1 dies by it or knows no reboot.
    pub(super) fn note_order(&mut self, stop: Stop) {
        self.state.order = Some(note(stop, now_ms()));
        self.note_state();
    }

    /// Notes whether the guest is down, and to be booted again.
    pub(super) fn note_due(&mut self, is_due: bool) {
        let crashes = self.machine.crashes();
        if (self.state.is_due, self.state.crashes) != (is_due, crashes) {
            (self.state.is_due, self.state.crashes) = (is_due, crashes);
            self.note_state();
        }
    }

    /// Goes on with a guest that was down when a supervisor died that was about to
    /// boot it.
    pub(super) fn go_on_between_boots(&mut self) {
        let before = State::read(&self.run.state());
        self.find_scratch();
        self.sweep();
        let State { boot, crashes, last_end, is_due, .. } = before;
        self.state = State { boot, crashes, last_end, is_due, ..mem::take(&mut self.state) };
        self.note_state();
        tracing::info!("the guest was about to be booted again; going on with that");
        // It was up once: nobody waits for that.
        self.notifier.ready();
        let effects = self.machine.go_on(crashes);
        self.perform(effects);
    }

    /// Goes on with what a supervisor before was ordered.
    pub(super) fn heed_noted_order(&mut self) {
        if let Some(order) = self.state.order {
            self.feed(Event::Stop(read(order, now_ms())));
        }
    }
}

fn note(stop: Stop, now_ms: u64) -> Order {
    let until_ms = now_ms.saturating_add(milliseconds(stop.timeout).into());
    Order { power: stop.power, until_ms, no_kill: stop.no_kill }
}

/// Its deadline stays what it was.
fn read(order: Order, now_ms: u64) -> Stop {
    let timeout = Duration::from_millis(order.until_ms.saturating_sub(now_ms));
    Stop { power: order.power, timeout, no_kill: order.no_kill }
}

#[cfg(test)]
mod tests {
    use shared::message::Power;

    use super::*;

    #[test]
    fn a_deadline_stays_where_it_was() {
        let stop = Stop { power: Power::Reboot, timeout: Duration::from_secs(60), no_kill: true };
        let order = note(stop, 5_000);
        let after = |seconds| Stop { timeout: Duration::from_secs(seconds), ..stop };
        assert_eq!(read(order, 5_000), stop);
        assert_eq!(read(order, 45_000), after(20));
        assert_eq!(read(order, 90_000), after(0));
    }
}
