//! Records of the guest's processes: the kernel writes them, whoever looks
//! after the guest; the supervisor sees to it that they don't grow for ever.

use std::env;
use std::time::Duration;

use crate::accounting::{RECORDS_LIMIT, Records};
use crate::control::Event as Told;
use crate::variables;

use super::Supervisor;
use super::timers::Timer;

/// Between two looks at how long the file is.
const INTERVAL: Duration = Duration::from_secs(10);

/// The same after one that has failed, which the log tells of.
const LONG_INTERVAL: Duration = Duration::from_secs(300);

/// A file that isn't rotated yet, and how long it was before a boot.
#[derive(Clone, Copy, Debug)]
pub struct Before(u64);

impl Supervisor {
    /// To be remembered from before a boot for [`Supervisor::watch_records`].
    pub(super) fn records_before(&self) -> Before {
        Before(self.records().length())
    }

    /// Looks after the records of a boot. Says if there are none: the kernel
    /// writes nothing to a file system that is nearly full.
    pub(super) fn watch_records(&mut self, before: Before) {
        if self.plan.process_records.is_none() {
            return;
        }
        if self.records().length() <= before.0 {
            let text = "the kernel records none of the guest's processes until there is more room \
                        on the disk; see 'sysctl kernel.acct'";
            tracing::warn!("{text}");
            self.clients.tell(&Told::Note(text.to_owned()));
        }
        self.keep_records();
    }

    /// The same for a guest that another supervisor has started. It may have
    /// records though its configuration says nothing of them now.
    pub(super) fn take_over_records(&mut self) {
        if self.records().is_there() {
            self.keep_records();
        }
    }

    /// Looks at the records now, if this boot has any.
    pub(super) fn look_at_records(&mut self) {
        if self.timers.is_set(Timer::Records) {
            self.keep_records();
        }
    }

    /// Rotates the records if they have grown long, and looks again after a
    /// while.
    pub(super) fn keep_records(&mut self) {
        let after = match self.records().rotate(limit()) {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!("the records of the guest's processes grow: {error}");
                LONG_INTERVAL
            }
        };
        self.arm(Timer::Records, after);
    }

    fn records(&self) -> Records {
        Records::new(&self.planner.paths, &self.plan.name)
    }
}

/// How long they may grow ([`variables::RECORDS_LIMIT`]).
fn limit() -> u64 {
    let wanted = env::var(variables::RECORDS_LIMIT).ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(RECORDS_LIMIT)
}
