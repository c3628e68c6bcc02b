//! Signals to a command of a session, on their way to its program. The program is in
//! a session of its own, so that no terminal's keys and no shell reach it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::sys::{self, signals};

/// With which whoever waits for a command tells it to end.
const PASSED_ON: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Signals that have come, and the program that gets them.
pub struct Signals {
    /// A pipe for each, which gets a byte when it comes.
    caught: Vec<(i32, OwnedFd)>,
    program: Option<OwnedFd>,
}

impl Signals {
    /// Catches them from now on, but none that is ignored.
    ///
    /// # Errors
    /// When the system refuses pipes or handlers.
    pub fn catch() -> io::Result<Self> {
        let heeded = signals::heeded(&PASSED_ON).into_iter();
        let pipes = heeded.map(|signal| Ok((signal, signals::pipe_of(&[signal])?)));
        Ok(Self { caught: pipes.collect::<io::Result<_>>()?, program: None })
    }

    /// What is to be polled.
    pub fn watch(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.caught.iter().map(|(_, pipe)| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
    }

    /// Takes those that have come since.
    pub fn take(&self) -> Vec<i32> {
        let come = self.caught.iter().filter(|(_, pipe)| signals::has_come(pipe));
        come.map(|(signal, _)| *signal).collect()
    }

    /// The program has begun: its pidfd.
    pub fn begin(&mut self, program: Option<OwnedFd>) {
        self.program = program;
    }

    /// Passes one on, to all of the program's process group, as a terminal does; `false`
    /// if it hasn't begun.
    pub fn pass_on(&self, signal: i32) -> bool {
        let Some(program) = &self.program else { return false };
        let _ = sys::signal_group_by_descriptor(program.as_fd(), signal);
        true
    }

    /// One that has come by these pipes, for tests.
    #[cfg(test)]
    pub fn caught_by(caught: Vec<(i32, OwnedFd)>) -> Self {
        Self { caught, program: None }
    }
}
