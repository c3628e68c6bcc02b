//! One guest's supervisor: a loop around the state machine.
//!
//! It holds all policy and no state that matters: it may be killed at any
//! moment, and the next one takes the guest over from the keeper. It has one
//! thread, waits in one place, and never waits for the guest.

mod accounts;
mod actions;
mod aftermath;
mod clients;
mod dying;
mod family;
mod hearing;
mod keeper;
mod kills;
mod manager;
mod mending;
mod network;
mod orders;
mod outlived;
mod own_init;
mod perform;
mod planner;
mod records;
mod registration;
mod remains;
mod requests;
mod scratch;
mod state;
mod steps;
mod succession;
mod talk;
mod telling;
mod timers;
mod watching;

use std::collections::VecDeque;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockType;
use shared::message::{BootMode, GuestState, PROTOCOL, Runlevel, Style, ToGuest};
use shared::outcome::GuestEnd;
use shared::stage::{Failure, Stage};

use crate::accounting::Traffic;
use crate::accounting::forks::{Forks, Made};
use crate::cgroup::{GuestCgroup, Serving};
use crate::control::{Event as Told, Phase, Request, Snapshot};
use crate::error::{Error, Result};
use crate::exhausted;
use crate::journal::Kind;
use crate::launch::explain;
use crate::plan::Plan;
use crate::runtime::{self, Lock, Place, RunDir, State, now_ms};
use crate::sys;
use crate::systemd::Notifier;

pub use actions::doubt_of_actions;
pub use aftermath::clear_after;
pub use manager::missed;
pub use planner::{Planner, refuse_root};
pub use succession::runs;

use accounts::Account;
use actions::Output;
use clients::Clients;
use dying::Dying;
use family::OwnInit;
use hearing::Hearing;
use keeper::Keeper;
use kills::Kills;
use registration::Registration;
use state::{Event, Machine, Purpose};
use steps::Steps;
use succession::Successions;
use timers::{Timer, Timers};

/// A guest's supervisor.
#[derive(Debug)]
pub struct Supervisor {
    planner: Planner,
    plan: Plan,
    run: RunDir,
    cgroup: GuestCgroup,
    machine: Machine,
    /// The phase that was told last: the machine may be in the next one.
    told: Phase,
    state: State,
    /// Is that to be written still, for want of room?
    is_unnoted: bool,
    /// Is a boot being launched whose number stands there already?
    is_counted: bool,
    guest: Guest,
    hearing: Hearing,
    keeper: Option<Keeper>,
    clients: Clients,
    /// What they have asked for while the administrator's script ran.
    deferred: Vec<(u64, Request)>,
    /// What is printed by what such scripts have left running.
    outputs: Vec<Output>,
    /// What was killed and hasn't ended yet.
    dying: Dying,
    timers: Timers,
    /// What the guest uses is noted there, once it is open.
    account: Option<Account>,
    /// Counts the processes of this boot, for its launch.
    forks: Option<Forks>,
    /// How many that are.
    made: Option<Made>,
    /// Where the traffic of this boot is counted.
    traffic: Option<Traffic>,
    /// Maps of its listening sockets, if one socket can serve all addresses.
    serving: Option<Serving>,
    /// Processes killed for want of memory, where the host counts them.
    kills: Option<Kills>,
    /// The last changes, oldest first, for watchers that come late.
    changes: VecDeque<Snapshot>,
    /// Is it a guest that has been booted, and not ended yet?
    is_booted: bool,
    /// systemd, where this is the process of a unit.
    notifier: Notifier,
    /// What is going on with the guest's own init.
    own_init: OwnInit,
    /// What machined is told.
    registration: Registration,
    /// Hangs up when the process ends that watches over this one.
    guard: Option<OwnedFd>,
    /// Readable when systemd wants the guest down.
    terminated: Option<OwnedFd>,
    /// Readable when somebody has looked in vain for this supervisor's socket.
    missed: Option<OwnedFd>,
    /// Why the first start failed, for whoever ordered it.
    failure: Option<Error>,
    /// Keepers that were killed and have got a successor.
    successions: Successions,
    finished: bool,
    start: Start,
    /// Has one been killed that had seen the guest's end?
    follows_end: bool,
    lock: Lock,
}

/// May a supervisor start its guest?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Unless it runs already.
    IfDown,
    /// Only take over a guest that runs.
    Never,
}

/// What guest-init has told.
#[derive(Debug, Default)]
struct Guest {
    style: Option<Style>,
    reason: String,
    runlevel: Option<Runlevel>,
    /// What its own init has waited for in this boot.
    steps: Steps,
}

impl Supervisor {
    /// Becomes the supervisor of a guest, whose `place` it has. `first` is a
    /// connection of whoever started this process.
    ///
    /// # Errors
    /// When its socket or cgroups can't be made.
    pub fn new(
        planner: Planner,
        plan: Plan,
        start: Start,
        place: Place,
        first: Option<OwnedFd>,
    ) -> Result<Self> {
        let run = RunDir::new(&planner.paths, &plan.name);
        let cgroup = GuestCgroup::of_supervisor(&planner.paths, &plan.name);
        let listener = runtime::listen(&run.control(), SockType::SeqPacket)
            .map_err(|error| Error::path("listen on", &run.control(), error));
        let (cgroup, listener) = match (cgroup, listener) {
            (Ok(cgroup), Ok(listener)) => (cgroup, listener),
            (Err(error), _) | (_, Err(error)) => {
                run.leave(place.lock);
                return Err(error);
            }
        };
        let Place { lock, follows_end } = place;
        let purpose = match plan.boot.mode {
            BootMode::Boot | BootMode::Command(_) => Purpose::Boot,
            BootMode::Rescue(_) => Purpose::Rescue,
            BootMode::Idle => Purpose::Sessions,
        };
        Ok(Self {
            account: None,
            forks: None,
            made: None,
            traffic: None,
            serving: None,
            kills: None,
            changes: VecDeque::new(),
            is_booted: false,
            machine: Machine::new(plan.lifecycle.restart, purpose),
            told: Phase::Stopped,
            state: State::default(),
            is_unnoted: false,
            is_counted: false,
            guest: Guest::default(),
            hearing: Hearing::new(Instant::now()),
            keeper: None,
            clients: Clients::new(&plan.name, listener, first),
            deferred: Vec::new(),
            outputs: Vec::new(),
            dying: Dying::default(),
            timers: Timers::default(),
            notifier: Notifier::from_environment(),
            own_init: OwnInit::default(),
            registration: Registration::default(),
            guard: None,
            terminated: None,
            missed: None,
            failure: None,
            successions: Successions::default(),
            finished: false,
            planner,
            start,
            follows_end,
            plan,
            run,
            cgroup,
            lock,
        })
    }

    /// Takes the guest over if it runs, else starts it if that is wanted, and
    /// stays until it is down for good.
    ///
    /// # Errors
    /// Why the first start failed.
    pub fn run(mut self) -> Result<()> {
        let found = match keeper::find(&self.run) {
            Ok(found) => found,
            Err(error) => {
                let error = self.unanswered(error);
                tracing::error!("{error}");
                // Whoever is told, and looks again, waits for the next one.
                let _ = fs::remove_file(self.run.control());
                self.refuse_all(&error);
                return Err(error);
            }
        };
        let found = match found {
            Some(keeper) => {
                self.find_state(keeper.init_pid());
                Some(keeper)
            }
            None => self.find_orphan(),
        };
        match found {
            Some(keeper) => {
                self.find_scratch();
                self.take_over(keeper);
            }
            None if !self.follows_end && self.run.is_due() => self.go_on_between_boots(),
            None if self.start == Start::Never => {
                self.sweep();
                return self.depart();
            }
            None if self.follows_end => {
                self.find_scratch();
                self.clean_up_again();
                return self.depart();
            }
            None => {
                self.sweep();
                self.clients.lease_first();
                let _ = self.outwait_script();
                if let Err(error) = self.take_scratch() {
                    let name = &self.plan.name;
                    let error = error.context(format_args!("cannot start guest '{name}'"));
                    self.clients.tell(&Told::failed(&error));
                    self.failure = Some(error);
                    return self.depart();
                }
                let effects = self.machine.start();
                self.perform(effects);
            }
        }
        self.arm_watchdog();
        sys::trim_memory();
        while !self.finished {
            self.wait();
            self.hear_keeper();
            self.hear_guest();
            self.hear_own_init();
            self.hear_clients();
            self.hear_timers();
            self.hear_kills();
            self.hear_manager();
            self.hear_registration();
            self.hear_outputs();
        }
        self.depart()
    }

    /// Goes on with a guest that another supervisor started.
    fn take_over(&mut self, keeper: Keeper) {
        self.machine = self.machine.attached(self.state.crashes);
        if self.follows_end {
            self.machine = self.machine.down();
        }
        self.told = self.machine.phase();
        self.kills = Kills::open(&self.cgroup.limited(self.state.boot), true);
        let is_foreign = ![0, PROTOCOL].contains(&self.state.protocol);
        let keeper = if is_foreign { keeper.unlinked() } else { keeper };
        keeper.tell_guest(&ToGuest::Query);
        self.keeper = Some(keeper);
        self.say(Kind::Adopted, "this supervisor has taken over the running guest");
        self.is_booted = !self.state.idle;
        self.note_due(false);
        if self.state.up {
            // Whatever the guest says now, or doesn't.
            self.notifier.ready();
        } else {
            let since = now_ms().saturating_sub(self.state.booted_at_ms);
            self.notifier.goes_on(Duration::from_millis(since));
        }
        self.arm_account();
        if self.state.idle {
            self.arm(Timer::Sessions, requests::SESSIONS);
        }
        self.register();
        self.take_over_records();
        self.guest.style = self.state.style;
        self.guest.reason.clone_from(&self.state.reason);
        self.heed_noted_order();
        if self.guest.style == Some(Style::Init) && self.state.up {
            self.feed(Event::Guest(GuestState::HandedOver));
        }
        self.let_go_of_others();
        self.go_on_unheard();
    }

    /// Removes what an earlier life of the guest left behind: its keeper is
    /// gone, so nobody can hold on to it. Nothing has been noted yet in this one, but
    /// that life's script may still be at work.
    fn sweep(&mut self) {
        let script = State::read(&self.run.state()).script;
        self.state = State { script, ..State::default() };
        let (paths, name) = (&self.planner.paths, &self.plan.name);
        for error in aftermath::remove(paths, name, Some(&self.cgroup)) {
            tracing::error!("after an earlier boot: {error}");
        }
    }

    fn feed(&mut self, event: Event) {
        tracing::debug!("{}: {event:?}", self.machine.phase());
        if matches!(event, Event::Stop(_)) && self.machine.phase() == Phase::BackingOff {
            // What was ordered is done now, whatever has become of the last boot.
            self.failure = None;
        }
        let effects = self.machine.step(event);
        self.perform(effects);
    }

    fn wait(&self) {
        let deaf_until = self.hearing.deaf_until(Instant::now());
        let mut fds = Vec::with_capacity(16);
        if let Some(keeper) = &self.keeper {
            fds.push(PollFd::new(keeper.as_fd(), PollFlags::POLLIN));
            let link = keeper.link().map(AsFd::as_fd);
            let talk = link.into_iter().chain(keeper.notify()).filter(|_| deaf_until.is_none());
            fds.extend(talk.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        }
        self.clients.watch(&mut fds);
        self.watch_outputs(&mut fds);
        let signals = self.terminated.iter().chain(&self.missed);
        fds.extend(signals.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.registration.watched().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.guard.as_ref().map(|guard| PollFd::new(guard.as_fd(), PollFlags::empty())));
        if let Some(kills) = self.kills.as_ref().and_then(Kills::watched) {
            fds.push(PollFd::new(kills, PollFlags::POLLPRI));
        }
        let next_look = self.kills.as_ref().and_then(Kills::deaf_until);
        let moments = self.timers.next().into_iter().chain(deaf_until).chain(next_look);
        let moments = moments.chain(self.notifier.patient_until());
        let moments = moments.chain((!self.deferred.is_empty()).then(Instant::now));
        let timeout = match moments.min() {
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left.saturating_add(Duration::from_millis(1)))
                    .unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        let _ = poll(&mut fds, timeout);
    }

    fn hear_keeper(&mut self) {
        while let Some(keeper) = &mut self.keeper {
            match keeper.hear() {
                keeper::Heard::Nothing => return,
                keeper::Heard::Ended(outcome) => {
                    // What the guest said last counts before its end.
                    self.hear_guest();
                    self.end(GuestEnd::from_outcome(outcome));
                }
                keeper::Heard::EndedUnseen => {
                    self.hear_guest();
                    self.end(self.unseen_end());
                }
                // One that is dead again already has its turn with the others.
                keeper::Heard::Lost => return self.succeed_keeper(),
            }
        }
    }

    /// PID 1 has ended.
    fn end(&mut self, end: GuestEnd) {
        // Killed at the end of a shutdown is no crash.
        let asked = self.machine.phase() == Phase::Stopping;
        let outcome = perform::describe(end);
        if matches!(end, GuestEnd::Died(_) | GuestEnd::Unknown) && !asked {
            self.note_crash();
            self.say_of(Kind::Crashed, &outcome, "the guest has crashed: PID 1");
            if self.machine.phase() == Phase::Booting {
                self.guess_at_crash();
            }
        }
        self.state.last_end = Some(outcome);
        self.feed(Event::Ended(end));
    }

    fn hear_timers(&mut self) {
        for timer in self.timers.due(Instant::now()) {
            match timer {
                Timer::Deadline => self.feed(Event::Deadline),
                Timer::Pause => self.feed(Event::PauseOver),
                Timer::Stable => self.feed(Event::Stable),
                Timer::Account => {
                    // It is in the log, and tried again.
                    let _ = self.keep_account();
                    self.arm_account();
                    if self.is_unnoted {
                        self.note_state();
                    }
                    self.come_back();
                    // It is noted what is left.
                    let _ = self.mend_link();
                    self.dying.reap();
                    self.end_overdue_script();
                    sys::trim_memory();
                }
                Timer::Records => self.keep_records(),
                Timer::Announce => self.announce_addresses(),
                Timer::Watchdog => self.arm_watchdog(),
                Timer::Registration => self.settle_registration(),
                Timer::OwnInit => self.look_at_own_init(),
                Timer::Sessions => self.look_for_sessions(),
            }
        }
    }

    /// A start has failed: one sentence for everybody who listens.
    fn failed(&mut self, failure: Failure) {
        let error = explain(&self.plan, &self.planner.paths.roots_dir(), failure);
        self.notifier.failed(&exhausted::in_a_line(&error));
        self.say_failed(&error, Some(failure.stage));
        self.clients.tell(&Told::failed(&error));
        self.state.last_end = Some(format!("not started: {error}"));
        self.failure.get_or_insert(error);
    }

    /// Everything about the guest has ended: nothing of it stays.
    fn depart(mut self) -> Result<()> {
        self.registration.abandon();
        let _ = self.outwait_script();
        self.forget();
        if let Err(error) = self.run.remove() {
            tracing::warn!("cannot remove '{}': {error}", self.run.path().display());
        }
        self.hear_last_clients();
        self.run.give_up(self.lock);
        self.clients.flush();
        if let Some(error) = &self.failure {
            self.notifier.failed(&exhausted::in_a_line(error));
        }
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// A failed step outside of `launch`.
fn failure(stage: Stage, error: &std::io::Error) -> Failure {
    Failure { stage, step: 0, errno: error.raw_os_error().unwrap_or(libc::EIO) }
}
