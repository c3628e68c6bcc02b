//! What the machine is told, and what it wants done.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared::message::{FromGuest, Power, ToGuest};
use shared::outcome::Outcome;

#[cfg(doc)]
use super::Machine;
use super::Sig;
use crate::environment::Variables;
use crate::initctl::Request;
use crate::inittab::Inittab;
use crate::rc::Plan;

/// Milliseconds of the monotonic clock.
pub type Millis = u64;

/// What has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first event.
    Start,
    /// Time has passed; also without need.
    Tick,
    /// A job could not be forked.
    SpawnFailed {
        /// Its number.
        job: u32,
    },
    /// The program of a job that asks for it ([`Command::until_executed`]) runs, or it can't
    /// be executed and the job is about to end.
    Executed {
        /// Its number.
        job: u32,
        /// Why not.
        error: Option<&'static str>,
    },
    /// A job has ended.
    Ended {
        /// Its number.
        job: u32,
        /// How.
        outcome: Outcome,
    },
    /// Somebody has sent a signal.
    Signal(Sig),
    /// Somebody has written to `/run/initctl`.
    Request(Request),
    /// The supervisor has sent an order.
    Order(ToGuest),
    /// The answer to [`Effect::ReadTable`].
    Table(Table),
    /// The answer to [`Effect::ReadPlan`], with its two levels.
    Plan(char, char, Plan),
    /// There is no other process; told while [`Machine::wants_alone`].
    Alone,
}

/// Everything about the guest's inittab that has to be known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its entries and what was skipped.
    pub inittab: Inittab,
    /// Terminals of entries that the guest doesn't have.
    pub missing: BTreeSet<String>,
    /// May the own runner stand in for calls of the stock rc runner?
    pub direct: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start a process; [`Event::SpawnFailed`] when that fails.
    Spawn {
        /// Number under which its end is told.
        job: u32,
        /// What to start.
        command: Command,
        /// To be sent to the supervisor once it is started.
        report: Option<FromGuest>,
    },
    /// Send a signal to a job's process group.
    Signal(u32, Kill),
    /// Send a signal to every process of the guest.
    SignalAll(Kill),
    /// Write a line on the console.
    Say(String),
    /// Send to the supervisor.
    Send(FromGuest),
    /// Read inittab.
    ReadTable,
    /// Read the rc directories of a runlevel, coming from another one.
    ReadPlan(char, char),
    /// Open `/run/initctl` anew if it isn't ours any more.
    ReopenInitctl,
    /// Write this previous and present runlevel to utmp and wtmp.
    Record(char, char),
    /// Much was done and little is to come: give memory back.
    Settled,
    /// reboot(2).
    Power(Power),
    /// End as a crash with this exit status.
    Exit(u8),
}

/// How processes are made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// SIGTERM, then SIGCONT for those that are stopped.
    Term,
    /// SIGKILL.
    Kill,
}

/// A process to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What to execute.
    pub program: Program,
    /// Its environment.
    pub environment: Variables,
    /// Its terminal relative to /dev; the console when `None`.
    pub terminal: Option<String>,
    /// Is this to be its controlling terminal?
    pub controlling: bool,
    /// Is it to wait for Enter first?
    pub ask_first: bool,
    /// Is [`Event::Executed`] to be told?
    pub until_executed: bool,
    /// Identifier of its record in utmp.
    pub record: Option<String>,
}

/// What a process executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The process field of an inittab line.
    Line(String),
    /// A program and its arguments.
    Argv(Vec<String>),
    /// Nothing: it writes the root file system's buffers to disk.
    Sync,
}
