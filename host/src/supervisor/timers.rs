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
    /// The records of its processes may have grown long.
    Records,
    /// The guest's addresses are to be announced once more.
    Announce,
    /// systemd waits for a word.
    Watchdog,
    /// machined is to be told once more.
    Registration,
    /// The guest's own init is to be looked at.
    OwnInit,
    /// Sessions that a supervisor before knew are to be looked for.
    Sessions,
}

/// When each is due.
#[derive(Debug, Default)]
pub struct Timers {
    deadline: Option<Instant>,
    pause: Option<Instant>,
    stable: Option<Instant>,
    account: Option<Instant>,
    records: Option<Instant>,
    announce: Option<Instant>,
    watchdog: Option<Instant>,
    registration: Option<Instant>,
    own_init: Option<Instant>,
    sessions: Option<Instant>,
}

impl Timers {
    /// Sets a timer, or with `None` unsets it.
    pub fn set(&mut self, timer: Timer, at: Option<Instant>) {
        *self.slot(timer) = at;
    }

    /// Is it set?
    pub fn is_set(&mut self, timer: Timer) -> bool {
        self.slot(timer).is_some()
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        let slots = [
            self.deadline,
            self.pause,
            self.stable,
            self.account,
            self.records,
            self.announce,
            self.watchdog,
            self.registration,
            self.own_init,
            self.sessions,
        ];
        slots.into_iter().flatten().min()
    }

    /// Takes out those that are due.
    pub fn due(&mut self, now: Instant) -> Vec<Timer> {
        let mut due = Vec::new();
        const ALL: [Timer; 10] = [
            Timer::Deadline,
            Timer::Pause,
            Timer::Stable,
            Timer::Account,
            Timer::Records,
            Timer::Announce,
            Timer::Watchdog,
            Timer::Registration,
            Timer::OwnInit,
            Timer::Sessions,
        ];
        for timer in ALL {
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
            Timer::Records => &mut self.records,
            Timer::Announce => &mut self.announce,
            Timer::Watchdog => &mut self.watchdog,
            Timer::Registration => &mut self.registration,
            Timer::OwnInit => &mut self.own_init,
            Timer::Sessions => &mut self.sessions,
        }
    }
}
