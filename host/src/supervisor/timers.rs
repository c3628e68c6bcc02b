//! The supervisor's timers.

use std::time::Instant;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A stop has lasted long enough.
    Deadline,
    /// The pause after a crash.
    Pause,
    /// The boot counts as stable.
    Stable,
    /// The guest's account is to be kept.
    Account,
}

/// When each is due.
#[derive(Debug, Default)]
pub struct Timers {
    deadline: Option<Instant>,
    pause: Option<Instant>,
    stable: Option<Instant>,
    account: Option<Instant>,
}

impl Timers {
    /// Sets a timer, or with `None` unsets it.
    pub fn set(&mut self, timer: Timer, at: Option<Instant>) {
        *self.slot(timer) = at;
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        [self.deadline, self.pause, self.stable, self.account].into_iter().flatten().min()
    }

    /// Takes out those that are due.
    pub fn due(&mut self, now: Instant) -> Vec<Timer> {
        let mut due = Vec::new();
        for timer in [Timer::Deadline, Timer::Pause, Timer::Stable, Timer::Account] {
            if self.slot(timer).is_some_and(|at| at <= now) {
                self.set(timer, None);
                due.push(timer);
            }
        }
        due
    }

    fn slot(&mut self, timer: Timer) -> &mut Option<Instant> {
        match timer {
            Timer::Deadline => &mut self.deadline,
            Timer::Pause => &mut self.pause,
            Timer::Stable => &mut self.stable,
            Timer::Account => &mut self.account,
        }
    }
}
