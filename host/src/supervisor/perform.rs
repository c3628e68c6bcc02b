//! Carries out the state machine's effects.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shared::link::RecvError;
use shared::message::{BootMode, FromGuest, PROTOCOL, Power, StopOrder, Style, ToGuest};
use shared::outcome::GuestEnd;
use shared::stage::{Failure, Stage};

use crate::control::{Event as Told, Phase};
use crate::error::Result;
use crate::journal::Kind;
use crate::launch::launch;
use crate::plan::milliseconds;
use crate::runtime::RunDir;
use crate::storage;
use crate::sys;

use super::actions::Action;
use super::kills::Kills;
use super::network::ANNOUNCEMENTS;
use super::state::{Effect, Event, STABLE};
use super::timers::Timer;
use super::{Supervisor, failure, keeper, now_ms};

/// How long the kernel may take to bury killed processes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// guest-init says hello as its first act.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Carries out effects; those that lead to an event feed it in last, so
    /// that effects of one step stay together.
    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        let mut follow = None;
        let is_over = effects.contains(&Effect::Finish);
        if is_over && self.state.is_due {
            self.note_due(false);
        }
        for effect in effects {
            // Of the administrator's scripts each may take a minute.
            self.arm_watchdog();
            match effect {
                Effect::Launch => {
                    // Counting all of a guest's files may take longer.
                    self.be_busy();
                    follow = Some(self.launch());
                    self.is_counted = false;
                }
                Effect::Note(stop) => self.note_order(stop),
                Effect::Thaw => self.thaw(),
                Effect::AskStop(power, deadline) => self.ask_stop(power, deadline),
                Effect::Kill => self.kill(),
                Effect::KillAgain => self.kill_again(),
                // systemd isn't told of it: it is to wait no longer.
                Effect::AwaitEnd(after) => self.arm(Timer::Deadline, after),
                Effect::CleanUp => {
                    // Whoever comes in this one's place meanwhile goes on from here.
                    match is_over {
                        true => RunDir::note_end(&self.lock),
                        false => self.note_due(true),
                    }
                    self.clean_up();
                }
                Effect::ArmDeadline(after) => {
                    self.notifier.stopping(after);
                    self.arm(Timer::Deadline, after);
                }
                Effect::DisarmDeadline => self.timers.set(Timer::Deadline, None),
                Effect::ArmPause(after) => {
                    self.note_due(true);
                    self.arm(Timer::Pause, after);
                }
                Effect::ArmStable => self.arm(Timer::Stable, STABLE),
                Effect::ReportTimeout => {
                    self.say(Kind::StopTimedOut, "the guest has not shut down in time");
                    self.clients.tell(&Told::StopTimedOut);
                }
                Effect::Announce(phase) => self.announce(phase),
                Effect::Finish => self.finish(),
            }
        }
        if let Some(event) = follow {
            self.feed(event);
            sys::trim_memory();
        }
    }

    pub(super) fn arm(&mut self, timer: Timer, after: Duration) {
        // A configured time may be longer than the clock goes.
        let far = Duration::from_secs(u32::MAX.into());
        self.timers.set(timer, Instant::now().checked_add(after.min(far)));
    }

    /// One boot: the administrator's script, the launch, the take-over. Any
    /// failure is told, and undone.
    fn launch(&mut self) -> Event {
        self.timers.set(Timer::Stable, None);
        if self.state.boot > 0 {
            // A guest that reboots comes up even if its file has been spoilt.
            match self.planner.plan(None) {
                Ok(plan) => self.plan = plan,
                Err(error) => tracing::error!("the old configuration stays: {error}"),
            }
        }
        self.state.boot = self.state.boot.saturating_add(1);
        self.is_counted = true;
        self.state.booted_at_ms = now_ms();
        self.state.protocol = PROTOCOL;
        self.state.up = false;
        self.state.notifies = false;
        self.state.family = None;
        self.state.power = None;
        self.state.order = None;
        self.state.pre_stop = false;
        self.state.held = false;
        self.state.crashes = self.machine.crashes();
        self.state.idle = self.plan.boot.mode == BootMode::Idle;
        self.state.rescue = match &self.plan.boot.mode {
            BootMode::Rescue(command) => Some(command.clone()),
            _ => None,
        };
        if let Err(error) = self.prepare() {
            self.say_failed(&error, None);
            let hint = error.remedy().map(str::to_owned);
            self.clients.tell(&Told::Failed { text: error.to_string(), hint });
            self.state.last_end = Some(format!("not started: {error}"));
            self.failure.get_or_insert(error);
            self.clean_up();
            return Event::LaunchFailed;
        }
        let records = self.records_before();
        match self.try_launch() {
            Ok(()) => {
                self.tell_unenforced();
                self.watch_records(records);
                self.kills = Kills::open(&self.cgroup.limited(self.state.boot), false);
                self.failure = None;
                self.note_due(false);
                // Injected faults are for one start.
                self.plan.fault = None;
                self.is_booted = self.plan.boot.mode != BootMode::Idle;
                self.arm_account();
                self.register();
                self.announce_addresses();
                self.arm(Timer::Announce, ANNOUNCEMENTS);
                Event::Launched
            }
            Err(failure) => {
                self.failed(failure);
                self.clean_up();
                Event::LaunchFailed
            }
        }
    }

    /// What is configured and can't be done on this host.
    fn tell_unenforced(&mut self) {
        for warning in &self.plan.limits.warnings {
            tracing::warn!("{warning}");
            self.clients.tell(&Told::Note(warning.clone()));
        }
    }

    /// What a start needs beside the launch: addresses that are free, the
    /// guest's name servers, the administrator's script.
    fn prepare(&mut self) -> Result<()> {
        self.take_addresses()?;
        self.count_forks();
        self.act(Action::PreStart)?;
        // The script may have mounted the disk that it is on.
        self.limit_disk()
    }

    /// While nobody writes there.
    fn limit_disk(&mut self) -> Result<()> {
        let plan = &mut self.plan;
        if storage::must_count(&plan.place, plan.scratch.as_deref(), plan.disk) {
            self.notifier.counting();
        }
        let limited = storage::limit(&plan.place, plan.scratch.as_deref(), plan.disk);
        match limited {
            Err(error) if !plan.limits.required => {
                plan.limits.warnings.push(error.to_string());
                Ok(())
            }
            other => {
                let name = &plan.name;
                plan.limits.warnings.extend(storage::doubt(&plan.place, plan.disk));
                other.map_err(|error| error.context(format_args!("cannot start guest '{name}'")))
            }
        }
    }

    fn try_launch(&mut self) -> Result<(), Failure> {
        // Whoever takes over finds what is being launched.
        self.run.create().map_err(|error| failure(Stage::RunDirectory, &error))?;
        let written = self.state.write(&self.run.state());
        written.map_err(|error| failure(Stage::RunDirectory, &error))?;
        let launched = launch(
            &self.plan,
            &self.run,
            &self.cgroup,
            self.state.boot,
            self.traffic.as_ref(),
            self.serving.as_ref(),
            &mut self.forks,
        )?;
        if self.forks.is_none() && self.state.forks.take().is_some() {
            self.note_state();
        }
        let injected = |stage| self.plan.fault.filter(|fault| fault.stage == stage);
        let keeper = match injected(Stage::TakeOver) {
            Some(fault) => Err(fault),
            None => keeper::connect(&self.run).map_err(|error| failure(Stage::TakeOver, &error)),
        };
        let keeper = match keeper {
            Ok(keeper) => keeper,
            Err(failure) => {
                let _ = self.cgroup.kill_all();
                self.dying.bury(launched.keeper);
                return Err(failure);
            }
        };
        let first = injected(Stage::FirstMessage);
        let keeper = self.keeper.insert(keeper);
        match first {
            Some(fault) => Err(fault),
            None => {
                let hello =
                    first_message(keeper).map_err(|error| failure(Stage::FirstMessage, &error))?;
                self.guest_says(hello);
                Ok(())
            }
        }
    }

    fn ask_stop(&mut self, power: Power, deadline: Option<Duration>) {
        if !self.state.pre_stop {
            if let Err(error) = self.act(Action::PreStop) {
                tracing::warn!("{error}");
            }
            self.state.pre_stop = true;
            self.note_state();
        }
        self.say_asked(power, deadline);
        if self.guest.style == Some(Style::Init) {
            return self.ask_own_init(power);
        }
        let Some(keeper) = self.keeper.as_ref().filter(|keeper| keeper.link().is_some()) else {
            return self.ask_by_signal(power);
        };
        let deadline_ms = deadline.map_or(u32::MAX, milliseconds);
        keeper.tell_guest(&ToGuest::Stop(StopOrder { power, deadline_ms }));
    }

    fn kill(&mut self) {
        self.say(Kind::Killed, "killing what is left of the guest");
        self.clients.tell(&Told::Killed);
        if let Err(error) = self.cgroup.kill(self.state.boot) {
            tracing::error!("cannot kill the guest's processes: {error}");
        }
    }

    /// Removes everything of a boot, whether it ended or was never complete.
    fn clean_up(&mut self) {
        self.timers.set(Timer::Stable, None);
        self.unregister();
        if self.keeper.is_some() {
            let _ = self.cgroup.kill(self.state.boot);
        }
        // Before the keeper goes: the next supervisor would find no end to note.
        self.timers.set(Timer::Account, None);
        self.timers.set(Timer::Records, None);
        self.timers.set(Timer::Announce, None);
        self.forget_own_init();
        self.hear_kills();
        self.kills = None;
        let _ = self.keep_account();
        self.is_booted = false;
        match self.keeper.take() {
            Some(keeper) if keeper.has_ended() => keeper.release(&mut self.dying),
            // A launch that failed half-way: the keeper goes with the rest.
            Some(keeper) => {
                let _ = self.cgroup.kill_all();
                keeper.reap(&mut self.dying);
            }
            None => {
                let _ = self.cgroup.kill_all();
            }
        }
        self.remove_link();
        self.end_forks();
        if let Err(error) = self.cgroup.remove_all(PATIENCE) {
            tracing::error!("cannot remove the guest's cgroups: {error}");
        }
        self.guest = super::Guest::default();
        if let Err(error) = self.act(Action::PostStop) {
            tracing::warn!("{error}");
        }
    }

    /// The guest was down for good when a supervisor was killed that cleaned up after
    /// it: does that, and all of the administrator's script, unless that is still at it.
    pub(super) fn clean_up_again(&mut self) {
        tracing::info!("the guest is down already; cleaning up after it once more");
        self.sweep();
        if let Err(error) = self.act(Action::PostStop) {
            tracing::warn!("{error}");
        }
        // Nobody has asked for a boot, which would have failed now.
        self.notifier.ready();
    }

    pub(super) fn thaw(&self) {
        if let Err(error) = self.cgroup.freeze(self.state.boot, false) {
            tracing::warn!("cannot thaw the guest: {error}");
        }
    }

    fn announce(&mut self, phase: Phase) {
        if phase == Phase::Stopped {
            self.forget();
        }
        // Once a boot: whoever takes over finds it noted.
        if phase != Phase::Running || !self.state.up {
            self.say_phase(phase);
        }
        if phase == Phase::Running && !self.state.up {
            self.state.up = true;
            self.note_state();
            if let Err(error) = self.act(Action::PostStart) {
                tracing::warn!("{error}");
                self.clients.tell(&Told::Note(error.to_string()));
            }
        }
        let level = self.guest.runlevel.map(|level| format!("runlevel {level}"));
        if phase == Phase::Stopped && self.failure.is_none() {
            // An end before the guest was up is none that systemd has to mend.
            self.notifier.ready();
        }
        self.notifier.phase(phase, &level.unwrap_or_default());
        self.told = phase;
        self.clients.tell(&Told::Phase(phase));
        self.tell_change(phase);
        if phase == Phase::Running {
            // What a boot needed beside the launch: reports, messages, files.
            sys::trim_memory();
        }
    }

    fn finish(&mut self) {
        self.finished = true;
    }
}

fn first_message(keeper: &keeper::Keeper) -> io::Result<FromGuest> {
    let link = keeper.link().ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO))?;
    let deadline = Instant::now() + FIRST_MESSAGE;
    loop {
        match link.recv() {
            Ok(hello @ FromGuest::Hello { .. }) => return Ok(hello),
            Ok(_) | Err(RecvError::Nonsense | RecvError::Descriptors) => {
                return Err(io::Error::from_raw_os_error(libc::EPROTO));
            }
            Err(RecvError::Closed) => return Err(io::Error::from_raw_os_error(libc::EPIPE)),
            Err(RecvError::Os(error)) => return Err(error.into()),
            Err(RecvError::Empty) => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(link.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout) == Ok(0) {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
    }
}

/// How a boot ended, for `status`.
pub fn describe(end: GuestEnd) -> String {
    match end {
        GuestEnd::Reboot => "reboot".to_owned(),
        GuestEnd::Halt => "power-off".to_owned(),
        GuestEnd::Died(outcome) => format!("died: {outcome}"),
        GuestEnd::Unknown => "ended unseen: its keeper was killed".to_owned(),
    }
}
