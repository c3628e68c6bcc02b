//! The screen of `vserver top`: what was seen ([`Reading`]), what the user
//! does about it ([`State`]), and what that looks like ([`draw()`]).
//!
//! Pure: a key and a reading go in, a new state and an [`Action`] come out.
//! Names and command lines are the guests' own text and pass
//! [`crate::report::printable`] before they are shown.

mod columns;
mod draw;
mod keys;
mod list;
mod rates;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

use shared::name::GuestName;

use crate::membership::Context;
use crate::report::stat::Line;

pub use draw::draw;
pub use state::State;

/// What there was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// When, on a clock that only goes on.
    pub at: Duration,
    /// All contexts that have processes.
    pub contexts: Vec<Entry>,
    /// The processes of the context that is opened.
    pub processes: Vec<Process>,
}

/// A context and what it uses.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which.
    pub context: Context,
    /// Its line in the table of `vserver stat`.
    pub line: Line,
}

/// A process of the context that is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Which.
    pub id: ProcessId,
    /// Its pid in the context.
    pub inner: i32,
    /// Its state, a letter (proc_pid_stat(5)).
    pub state: char,
    /// The size of its address space.
    pub virtual_bytes: u64,
    /// What of that is in memory.
    pub resident_bytes: u64,
    /// Its time on processors.
    pub time: Duration,
    /// Its name.
    pub name: String,
    /// Its command line, or its name in brackets.
    pub command: String,
}

/// What tells a process from all others: pids are given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId {
    /// Its pid on the host.
    pub pid: i32,
    /// When it was started, since the host was.
    pub started: Duration,
}

/// What is to be done after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing but to show the state.
    Nothing,
    /// End.
    Quit,
    /// Stop as a job of the shell's.
    Suspend,
    /// Draw everything anew.
    Repaint,
    /// Look again now.
    Look,
    /// Get hold of this process, which the user is asked about.
    Hold(Context, ProcessId),
    /// Let go of it.
    LetGo,
    /// Send it this signal.
    Send(Signal),
    /// Shut this guest down.
    Stop(GuestName),
}

/// A signal that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

impl Signal {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "SIGTERM",
            Self::Kill => "SIGKILL",
        }
    }
}
