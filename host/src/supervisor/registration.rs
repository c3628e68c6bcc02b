//! Keeps machined informed of the guest, by a helper at a time.
//!
//! What machined is to know changes with every boot. While a helper runs that
//! was told something else it is of no use: it is killed, and the next one
//! starts from whatever machined knows then.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::machined::{self, End, Helper, Wanted};

use super::Supervisor;
use super::keeper::Keeper;
use super::timers::Timer;

/// Until it is tried again, after machined didn't answer; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What machined is to know, and who sees to that.
#[derive(Debug, Default)]
pub(super) struct Registration {
    /// The guest's PID 1, while it runs.
    leader: Option<i32>,
    helper: Option<Helper>,
    failures: u32,
}

impl Registration {
    /// Readable when the helper has ended.
    pub(super) fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.helper.as_ref().map(AsFd::as_fd)
    }

    /// Ends the helper: this process is about to.
    pub(super) fn abandon(&mut self) {
        if let Some(helper) = self.helper.take() {
            helper.abandon();
        }
    }
}

impl Supervisor {
    /// Has machined know of the boot that runs, where the guest is a unit and
    /// its name can be that of a machine.
    pub(super) fn register(&mut self) {
        let is_machine = self.is_booted
            && self.cgroup.is_in_unit()
            && self.planner.paths.instance().is_empty()
            && machined::can_bear(&self.plan.name);
        if is_machine {
            self.registration.leader = self.keeper.as_ref().map(Keeper::init_pid);
            self.registration.failures = 0;
            self.settle_registration();
        }
    }

    /// Has machined know that PID 1 has ended.
    pub(super) fn unregister(&mut self) {
        if self.registration.leader.take().is_some() {
            self.registration.failures = 0;
            self.settle_registration();
        }
    }

    /// Starts a helper, in place of one that was told something else.
    pub(super) fn settle_registration(&mut self) {
        self.timers.set(Timer::Registration, None);
        self.registration.abandon();
        if !machined::is_reachable() {
            return;
        }
        let plan = &self.plan;
        let wanted = self.registration.leader.map(|leader| Wanted {
            leader,
            root: &plan.place.root,
            uuid: plan.uuid.as_deref(),
        });
        match Helper::start(&plan.name, wanted) {
            Ok(helper) => self.registration.helper = Some(helper),
            Err(error) => {
                tracing::debug!("cannot tell machined of the guest: {error}");
                self.try_registration_again();
            }
        }
    }

    /// Takes note of a helper's end.
    pub(super) fn hear_registration(&mut self) {
        let Some(end) = self.registration.helper.as_mut().and_then(Helper::ended) else { return };
        self.registration.helper = None;
        match end {
            End::Settled => self.registration.failures = 0,
            End::Taken => {
                let name = &self.plan.name;
                tracing::warn!(
                    "the guest is none of machined's machines: another one is called '{name}'"
                );
            }
            End::Absent => tracing::debug!("there is no machined"),
            End::Failed => self.try_registration_again(),
        }
    }

    fn try_registration_again(&mut self) {
        tracing::debug!("machined isn't told of the guest yet");
        let after = pause(self.registration.failures);
        self.registration.failures = self.registration.failures.saturating_add(1);
        self.arm(Timer::Registration, after);
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE)
}
