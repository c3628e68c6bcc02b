//! Reading of the guest's boot files by a child of its own.
//!
//! The files may lie on a file system that doesn't answer, and taking them
//! apart needs memory by the hundred kilobytes for a moment: neither is for
//! a PID 1. A forked child reads and decides, and sends the result through a
//! pipe.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use serde::{Deserialize, Serialize};
use shared::message::RcMode;

use crate::inittab::Dialect;
use crate::machine::{Event, Table};
use crate::rc::Plan;
use crate::{look, rc, sys};

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// The inittab of this dialect.
    Table(Dialect, RcMode),
    /// The plan for this runlevel, coming from another.
    Plan(char, char),
}

/// A result on its way.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Table(Table),
    Plan(char, char, Plan),
}

/// Longest result that is taken.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A child that reads.
#[derive(Debug)]
pub struct Reading {
    wanted: Wanted,
    pipe: File,
    bytes: Vec<u8>,
}

impl Wanted {
    /// Does it here and now.
    fn read(self) -> Answer {
        match self {
            Self::Table(dialect, rc) => Answer::Table(look::table(dialect, rc)),
            Self::Plan(level, previous) => {
                Answer::Plan(level, previous, rc::load::plan(level, previous))
            }
        }
    }
}

impl Answer {
    fn event(self) -> Event {
        match self {
            Self::Table(table) => Event::Table(table),
            Self::Plan(level, previous, plan) => Event::Plan(level, previous, plan),
        }
    }
}

impl Reading {
    /// Starts a child; without one (out of processes) the result is there at
    /// once.
    pub fn start(wanted: Wanted) -> Result<Self, Event> {
        Self::fork(wanted).map_err(|_| wanted.read().event())
    }

    fn fork(wanted: Wanted) -> nix::Result<Self> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        sys::fork_child(|| {
            let bytes = postcard::to_allocvec(&wanted.read()).unwrap_or_default();
            u8::from(File::from(theirs).write_all(&bytes).is_err())
        })?;
        Ok(Self { wanted, pipe: File::from(ours), bytes: Vec::new() })
    }

    /// The descriptor to wait on.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Takes what has come; the result when it is complete. When the child
    /// was killed before, it is done here.
    pub fn progress(&mut self) -> Option<Event> {
        let mut piece = [0; 4096];
        loop {
            match self.pipe.read(&mut piece) {
                Ok(length) if length > 0 && self.bytes.len() < MAX_ANSWER => {
                    self.bytes.extend(piece.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        let answer = postcard::from_bytes::<Answer>(&self.bytes);
        Some(answer.unwrap_or_else(|_| self.wanted.read()).event())
    }
}
