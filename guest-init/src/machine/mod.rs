//! What guest-init does, as a state machine: `step(now, event) -> effects`.
//!
//! Pure: no I/O, no clock, no process ids. Everything is there to be tested
//! over random orders of events. Processes are **jobs** with numbers of their
//! own; entries of inittab are **slots**. A boot goes through phases:
//!
//! ```text
//! Sysinit → Boot → Level → (Local) → Up            Up ⇄ Clearing → Level
//! any → Clearing → Level 0/6 → Terminating → Killing → Syncing → reboot(2)
//! ```
//!
//! `Clearing` waits for processes that don't belong to the new runlevel.
//! Nothing is ever started from `Terminating` on.

use std::collections::{BTreeMap, BTreeSet};

use shared::message::{BootMode, BootOrder, FromGuest, GuestState, Power, Runlevel, Style};

use crate::environment::Variables;

mod clock;
mod interface;
mod job;
mod level;
mod rc;
mod request;
mod shutdown;
mod slot;

#[cfg(test)]
mod tests;

pub use interface::{Command, Effect, Event, Kill, Millis, Program, Table};
use job::{Ending, Job};
use rc::RcRun;
pub use request::Sig;
use slot::Slot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `sysinit` entries, or rcS.d.
    Sysinit,
    /// `boot` and `bootwait` entries.
    Boot,
    /// Processes of another level have to end.
    Clearing,
    /// The level's entries, or its rc directory.
    Level,
    /// `/etc/rc.local` of rc style.
    Local,
    /// The level is reached.
    Up,
    /// All were sent SIGTERM.
    Terminating(Millis),
    /// All are sent SIGKILL.
    Killing(Millis),
    /// Buffers are written.
    Syncing(Millis),
    /// reboot(2) was called.
    Over,
}

/// A shutdown under way.
#[derive(Clone, Copy, Debug)]
struct Stop {
    power: Power,
    /// Did the supervisor order it?
    ordered: bool,
    deadline: Option<Millis>,
}

/// guest-init's whole state.
#[derive(Debug)]
pub struct Machine {
    order: BootOrder,
    style: Style,
    reason: String,
    terminal: String,
    /// How many rc scripts may run at once.
    parallel: usize,
    now: Millis,
    out: Vec<Effect>,
    phase: Phase,
    level: Runlevel,
    previous: char,
    /// The level that a boot leads to.
    target: Runlevel,
    slots: Vec<Slot>,
    last_slot: u32,
    direct: bool,
    has_table: bool,
    rc: Option<RcRun>,
    last_rc: u32,
    /// Scripts that rc style has started, as name and path.
    started: Vec<(String, String)>,
    local_is_done: bool,
    jobs: BTreeMap<u32, Job>,
    last_job: u32,
    ending: BTreeMap<u32, Ending>,
    /// fork(2) has failed: nothing is started before.
    hold_until: Option<Millis>,
    stop: Option<Stop>,
    /// Variables from `/run/initctl` and of a shutdown.
    variables: Variables,
    /// What was said already and needn't be again.
    said: BTreeSet<String>,
}

impl Machine {
    /// A guest before its boot. `terminal` is the value of TERM, `parallel`
    /// the number of rc scripts that may run at once.
    pub fn new(
        order: BootOrder,
        style: Style,
        reason: String,
        terminal: String,
        parallel: usize,
    ) -> Self {
        let target = order.runlevel.unwrap_or(match style {
            Style::Rescue | Style::Command | Style::Idle => Runlevel::SINGLE,
            _ => Runlevel::MULTI,
        });
        Self {
            order,
            style,
            reason,
            terminal,
            parallel,
            now: 0,
            out: Vec::new(),
            phase: Phase::Sysinit,
            level: Runlevel::SINGLE,
            previous: 'N',
            target,
            slots: Vec::new(),
            last_slot: 0,
            direct: false,
            has_table: false,
            rc: None,
            last_rc: 0,
            started: Vec::new(),
            local_is_done: false,
            jobs: BTreeMap::new(),
            last_job: 0,
            ending: BTreeMap::new(),
            hold_until: None,
            stop: None,
            variables: Variables::new(),
            said: BTreeSet::new(),
        }
    }

    /// Takes one event at a time not before that of the last one.
    pub fn step(&mut self, now: Millis, event: Event) -> Vec<Effect> {
        self.now = self.now.max(now);
        if self.phase == Phase::Over {
            return Vec::new();
        }
        match event {
            Event::Start => self.start(),
            Event::Tick => {}
            Event::SpawnFailed { job } => self.job_not_spawned(job),
            Event::Executed { job, error } => self.job_executed(job, error),
            Event::Ended { job, outcome } => self.job_ended(job, outcome),
            Event::Signal(signal) => self.signal(signal),
            Event::Request(request) => self.request(request),
            Event::Order(order) => self.order(order),
            Event::Table(table) => self.take_table(table),
            Event::Plan(level, previous, plan) => self.take_plan(level, previous, plan),
            Event::Alone => self.alone(),
        }
        self.clock();
        self.advance();
        core::mem::take(&mut self.out)
    }

    /// Where the guest is.
    pub fn state(&self) -> GuestState {
        match (self.stop, self.phase) {
            (
                Some(stop),
                Phase::Terminating(_) | Phase::Killing(_) | Phase::Syncing(_) | Phase::Over,
            ) => GuestState::Killing(stop.power),
            (Some(stop), _) => GuestState::Stopping(stop.power),
            (None, Phase::Up) => GuestState::Running(self.level),
            (None, Phase::Clearing | Phase::Level | Phase::Local) => {
                GuestState::Booting(self.level)
            }
            (None, _) => GuestState::Booting(self.target),
        }
    }

    fn start(&mut self) {
        self.send_hello();
        match self.order.mode {
            BootMode::Boot => {
                self.reopen_initctl();
                self.out.push(Effect::Record('N', 'S'));
                match self.style {
                    Style::Sysv | Style::Busybox => self.out.push(Effect::ReadTable),
                    _ => self.begin_rc('S', 'N', None),
                }
                self.send_state();
            }
            BootMode::Rescue(_) | BootMode::Command(_) => {}
            BootMode::Idle => self.enter(Phase::Up),
        }
    }

    /// Goes as far as the processes allow.
    fn advance(&mut self) {
        while let Some(next) = self.next_phase() {
            self.enter(next);
        }
    }

    /// The phase that follows, when the present one is done.
    fn next_phase(&mut self) -> Option<Phase> {
        let done = match self.phase {
            Phase::Clearing => self.ending.is_empty() && self.rc.is_none(),
            Phase::Local => self.local(),
            Phase::Sysinit | Phase::Boot | Phase::Level => self.pass(),
            Phase::Up => {
                self.pass();
                false
            }
            Phase::Terminating(_) | Phase::Killing(_) | Phase::Syncing(_) | Phase::Over => false,
        };
        done.then_some(match self.phase {
            Phase::Sysinit => Phase::Boot,
            Phase::Boot | Phase::Clearing => Phase::Level,
            Phase::Level if self.stop.is_some() => Phase::Terminating(self.grace()),
            Phase::Level if self.style == Style::Rc && !self.local_is_done => Phase::Local,
            _ => Phase::Up,
        })
    }

    fn enter(&mut self, phase: Phase) {
        let from = core::mem::replace(&mut self.phase, phase);
        match phase {
            Phase::Boot => {
                self.reopen_initctl();
                self.out.push(Effect::Record('N', 'S'));
            }
            Phase::Level => {
                if from == Phase::Boot {
                    self.level = self.target;
                }
                self.enter_level();
            }
            Phase::Up => {
                self.reopen_initctl();
                if self.order.mode == BootMode::Boot {
                    self.out.push(Effect::Record(self.previous, self.level.as_char()));
                }
                self.send_state();
                self.out.push(Effect::Settled);
                self.leave_single();
            }
            Phase::Terminating(_) => {
                self.send_state();
                self.out.push(Effect::SignalAll(Kill::Term));
            }
            Phase::Killing(_) => {
                if !matches!(from, Phase::Terminating(_)) {
                    self.send_state();
                }
                self.out.push(Effect::SignalAll(Kill::Kill));
            }
            Phase::Syncing(_) => self.spawn_sync(),
            Phase::Over => {
                let power = self.stop.map_or(Power::PowerOff, |stop| stop.power);
                self.out.push(Effect::Power(power));
            }
            Phase::Sysinit | Phase::Clearing | Phase::Local => {}
        }
    }

    /// Starts what the phase asks for; true when nothing of it is waited for.
    fn pass(&mut self) -> bool {
        match self.style {
            Style::Sysv | Style::Busybox => self.pass_slots(),
            Style::Rc => self.drive_rc(),
            Style::Rescue | Style::Command => {
                self.spawn_only();
                false
            }
            Style::Init | Style::Idle => true,
        }
    }

    /// Scripts may have mounted something over /run.
    fn reopen_initctl(&mut self) {
        if matches!(self.style, Style::Sysv | Style::Rc) && self.order.mode == BootMode::Boot {
            self.out.push(Effect::ReopenInitctl);
        }
    }

    fn send_hello(&mut self) {
        let protocol = shared::message::PROTOCOL;
        let (style, reason) = (self.style, self.reason.clone());
        self.out.push(Effect::Send(FromGuest::Hello { protocol, style, reason }));
    }

    fn send_state(&mut self) {
        self.out.push(Effect::Send(FromGuest::State(self.state())));
    }

    /// Tells the administrator, on the console and over the link.
    fn note(&mut self, text: String) {
        self.out.push(Effect::Say(format!("guest-init: {text}")));
        self.out.push(Effect::Send(FromGuest::Note(text)));
    }

    /// As [`Self::note`], but a text is told once only.
    fn note_once(&mut self, text: String) {
        // Texts hold parts of the guest's files: no endless memory for them.
        if self.said.len() < 256 && self.said.insert(text.clone()) {
            self.note(text);
        }
    }
}
