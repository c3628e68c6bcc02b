//! Keeps machined informed of the guest, by a helper at a time; and hears what
//! machined wants of a guest whose PID 1 doesn't.
//!
//! What machined is to know changes with every boot. While a helper runs that
//! was told something else it is of no use: it is killed, and the next one
//! starts from whatever machined knows then.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use shared::family::Family;
use shared::leader::FromLeader;
use shared::link::RecvError;
use shared::message::{Power, Style};

use crate::machined::{self, End, Helper, Leader, Wanted};

use super::keeper::Keeper;
use super::state::{Event, Stop};
use super::timers::Timer;
use super::{Supervisor, telling};

/// Until it is tried again, after machined didn't answer; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What machined is to know, and who sees to that.
#[derive(Debug, Default)]
pub(super) struct Registration {
    /// The machine's leader, while the guest runs: its PID 1, or what stands beside it.
    leader: Option<i32>,
    helper: Option<Helper>,
    failures: u32,
    /// Does machined know all of that?
    is_settled: bool,
    /// Where PID 1 doesn't do as machined says.
    beside: Option<Leader>,
    /// How many of those this boot has lost.
    losses: u32,
}

impl Registration {
    /// Readable when the helper has ended, or a leader has something to say.
    pub(super) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let helper = self.helper.as_ref().map(AsFd::as_fd);
        helper.into_iter().chain(self.beside.as_ref().and_then(Leader::watched))
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
            self.registration.abandon();
            self.registration = Registration {
                leader: self.keeper.as_ref().map(Keeper::init_pid),
                ..Registration::default()
            };
            self.settle_registration();
        }
    }

    /// Has machined know that PID 1 has ended.
    pub(super) fn unregister(&mut self) {
        if self.registration.leader.take().is_some() {
            self.registration.failures = 0;
            self.registration.beside = None;
            self.settle_registration();
        }
    }

    /// Starts a helper, in place of one that was told something else.
    pub(super) fn settle_registration(&mut self) {
        self.timers.set(Timer::Registration, None);
        self.registration.abandon();
        self.registration.is_settled = false;
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

    /// Takes note of a helper's end, and of what a leader says.
    pub(super) fn hear_registration(&mut self) {
        self.hear_leader();
        let Some(end) = self.registration.helper.as_mut().and_then(Helper::ended) else { return };
        self.registration.helper = None;
        match end {
            End::Settled => {
                self.registration.failures = 0;
                self.registration.is_settled = true;
                self.set_beside();
            }
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

    /// Gives the machine a leader that does as machined says, where that knows the guest
    /// and PID 1 is an init that ignores its signals.
    pub(super) fn set_beside(&mut self) {
        let registration = &self.registration;
        let is_due = registration.is_settled
            && registration.leader.is_some()
            && registration.beside.is_none()
            && self.guest.style == Some(Style::Init)
            && self.family() != Family::Systemd;
        // Until then PID 1 is guest-init.
        let Some(keeper) = self.keeper.as_ref().filter(|it| is_due && it.link().is_none()) else {
            return;
        };
        match Leader::start(&self.plan.name, keeper.init_pid()) {
            Ok(leader) => self.registration.beside = Some(leader),
            Err(error) => {
                tracing::debug!("cannot start a leader for machined: {error}");
                self.lose_leader();
            }
        }
    }

    fn hear_leader(&mut self) {
        let Some(leader) = &mut self.registration.beside else { return };
        match leader.hear() {
            Ok(FromLeader::Born(pid)) if self.cgroup.has(pid) => {
                self.registration.leader = Some(pid);
                self.settle_registration();
            }
            Ok(FromLeader::Asked(power)) => self.machined_asks(power),
            Err(RecvError::Empty) => {}
            // One of the guest's has ended it, or speaks in its place.
            Ok(FromLeader::Born(_)) | Err(_) => self.lose_leader(),
        }
    }

    /// What `vserver stop` and `reboot` do.
    fn machined_asks(&mut self, power: Power) {
        tracing::info!("machined asks for {}", telling::word(power));
        let timeout = self.stop_timeout();
        self.feed(Event::Stop(Stop { power, timeout, no_kill: false }));
    }

    /// PID 1 leads again, and later there is another one.
    fn lose_leader(&mut self) {
        let registration = &mut self.registration;
        registration.beside = None;
        registration.leader = self.keeper.as_ref().map(Keeper::init_pid);
        let after = pause(registration.losses);
        registration.losses = registration.losses.saturating_add(1);
        self.arm(Timer::Registration, after);
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
