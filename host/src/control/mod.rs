//! What commands and a guest's supervisor say to each other.
//!
//! One packet is one message, on the control socket in the guest's run
//! directory. Only root reaches it. A client sends requests and gets events;
//! events come to every client that has subscribed.

pub mod at_rest;
mod client;
mod finder;
mod patience;
#[cfg(test)]
mod samples;
mod still;
mod watch;
mod wire;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared::message::{Power, Runlevel, Style};
use shared::outcome::Outcome;

use crate::error::Error;

pub use client::{Client, TRIES, running, spawn_supervisor};
pub use patience::{BOOT, BootPatience, Limit, STEP};
pub use watch::{Change, Watcher};
pub use wire::{Unheard, Wire};

/// From a command to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Answer with [`Event::Status`].
    Status,
    /// Send all events from now on; the first is [`Event::Status`].
    Subscribe,
    /// Send [`Event::Status`] now and whenever it changes what the guest is
    /// doing; before, what has changed after this time, on the clock of
    /// [`Snapshot::clock_ms`], as far as this supervisor knows.
    Watch(u64),
    /// Shut the guest down. The client is subscribed, too.
    Stop {
        /// What comes after.
        power: Power,
        /// Milliseconds until what remains is killed; the configured time if
        /// not given.
        timeout_ms: Option<u32>,
        /// Don't kill: [`Event::StopTimedOut`] at the timeout instead.
        no_kill: bool,
    },
    /// Change to this runlevel.
    Runlevel(Runlevel),
    /// Freeze all processes of the guest, or let them go on. Answered with
    /// [`Event::Status`], or [`Event::Failed`].
    Freeze(bool),
    /// Take the addresses that the configuration has now, if the guest is on
    /// the host's own stack before and after; put back what its link has lost on
    /// the host, if it has one. Answered with [`Event::Status`], or
    /// [`Event::Failed`].
    Addresses,
    /// Execute this program in place of the one that runs: the next supervisor
    /// is the same process, and goes on with the guest. Answered with
    /// [`Event::Status`], or [`Event::Failed`].
    Reexec(PathBuf),
    /// End, and leave the guest to another supervisor, which is about to take
    /// it over. Answered with [`Event::Status`], or [`Event::Failed`].
    Leave,
    /// Note what the guest has used until now. Answered with
    /// [`Event::Status`].
    Account,
    /// As long as this connection lasts, a session uses the guest: a context
    /// without a boot ends with the last one.
    Lease,
    /// Freeze all processes of the guest for as long as this connection lasts,
    /// unless they are frozen already. Answered with [`Event::Status`], or
    /// [`Event::Failed`].
    Hold,
}

impl Request {
    /// Is it answered while the administrator's script runs, which may be who asks? What
    /// changes the guest's life, or its processes, waits for the script's end.
    pub fn is_answered_meanwhile(&self) -> bool {
        matches!(
            self,
            Self::Status | Self::Subscribe | Self::Watch(_) | Self::Lease | Self::Account
        )
    }

    /// Is it only for as long as whoever asks is there to hear of it? Nobody would let a
    /// guest go on that is frozen for a command which has ended, or has said that it
    /// couldn't be.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Self::Lease | Self::Hold | Self::Freeze(true))
    }
}

/// From the supervisor to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// How the guest is.
    Status(Box<Snapshot>),
    /// The phase has changed.
    Phase(Phase),
    /// A script or an inittab line was started, or the guest's own init waits for
    /// this now, whose end it doesn't tell.
    ScriptStarted {
        /// Number of this run; 0 of what an own init waits for.
        id: u32,
        /// Its path or line; not yet fit for a terminal.
        name: String,
        /// Its argument.
        argument: String,
    },
    /// It has ended.
    ScriptEnded {
        /// Number of this run.
        id: u32,
        /// Its path or line; not yet fit for a terminal.
        name: String,
        /// How it ended.
        outcome: Outcome,
        /// Its duration.
        millis: u32,
    },
    /// Something an administrator should know; not yet fit for a terminal.
    Note(String),
    /// A start has failed.
    Failed {
        /// One sentence.
        text: String,
        /// The remedy.
        hint: Option<String>,
    },
    /// The guest is still shutting down at the timeout of a stop that must
    /// not kill.
    StopTimedOut,
    /// What remained after the timeout was killed.
    Killed,
    /// It was, and hasn't ended since: what is left of it. It is killed again and
    /// again.
    Unkillable(Vec<Left>),
}

/// A process that was killed and hasn't ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its pid on the host.
    pub pid: i32,
    /// The letter of its state (proc(5)).
    pub state: char,
    /// Pid of the process that traces it; 0 if none does.
    pub tracer: i32,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, state, tracer } = self;
        match tracer {
            0 => write!(f, "{pid} (state {state})"),
            _ => write!(f, "{pid} (state {state}, traced by {tracer})"),
        }
    }
}

impl Event {
    /// Tells of an error.
    pub fn failed(error: &Error) -> Self {
        Self::Failed { text: error.to_string(), hint: error.remedy().map(str::to_owned) }
    }
}

/// Where a guest is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Being launched.
    Starting,
    /// Its boot scripts run.
    Booting,
    /// It has reached its runlevel.
    Running,
    /// Shutting down.
    Stopping,
    /// Down, about to be started again.
    Rebooting,
    /// Crashed, waiting to be started again.
    BackingOff,
    /// Down.
    Stopped,
    /// A context without a boot, for sessions.
    Session,
    /// Frozen, whatever it was doing. Only shown: the guest itself knows
    /// nothing of it.
    Paused,
}

/// A start that failed ([`Event::Failed`]) as an error.
pub fn start_failed(text: String, hint: Option<String>) -> Error {
    let error = Error::new(text);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

impl Phase {
    /// The word in `status` and `list`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Booting => "booting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Rebooting => "rebooting",
            Self::BackingOff => "backing-off",
            Self::Stopped => "stopped",
            Self::Session => "session",
            Self::Paused => "paused",
        }
    }

    /// What `running` answers and the exit code of `status` tells: has it
    /// been booted and not ended yet? A session alone is no running guest.
    pub fn is_running(self) -> bool {
        match self {
            Self::Stopped | Self::BackingOff | Self::Session => false,
            Self::Starting
            | Self::Booting
            | Self::Running
            | Self::Stopping
            | Self::Rebooting
            | Self::Paused => true,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Snapshot {
    /// The phase as users see it: a bare context is one also on its way up
    /// and down, and a frozen guest is paused whatever it was doing.
    pub fn shown_phase(&self) -> Phase {
        match (self.style, self.phase) {
            (_, Phase::Stopped) => Phase::Stopped,
            (Some(Style::Idle), _) => Phase::Session,
            _ if self.paused => Phase::Paused,
            (_, phase) => phase,
        }
    }
}

/// How a guest is at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Milliseconds from 1970 to that moment.
    pub at_ms: u64,
    /// Milliseconds from the host's start to that moment (`CLOCK_BOOTTIME`):
    /// nobody sets this clock, as they do the one on the wall.
    pub clock_ms: u64,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its number.
    pub context: u32,
    /// Which boot files are followed.
    pub style: Option<Style>,
    /// Why; text of the guest, not yet fit for a terminal.
    pub reason: String,
    /// The runlevel it is in or on the way to.
    pub runlevel: Option<Runlevel>,
    /// Host pid of its PID 1; 0 while it has none.
    pub init_pid: i32,
    /// Pid of its keeper; 0 while it has none.
    pub keeper_pid: i32,
    /// Pid of its supervisor.
    pub supervisor_pid: i32,
    /// Milliseconds since the start of this boot.
    pub uptime_ms: u64,
    /// Number of this boot, from 1.
    pub boot: u32,
    /// Restarts after crashes in a row.
    pub crashes: u32,
    /// How the last boot ended.
    pub last_end: Option<String>,
    /// Whose ids its users have.
    pub users: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Number of its processes.
    pub processes: u32,
    /// Has it been told to stand still?
    pub paused: bool,
    /// Do all of them stand still?
    pub frozen: bool,
    /// How many were killed for want of memory in this boot; `None` where the
    /// host doesn't count them.
    pub kills: Option<u64>,
}
