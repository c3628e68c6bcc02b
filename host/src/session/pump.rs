//! Bytes on their way between the user and a session's program.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shared::name::GuestName;
use shared::outcome::Outcome;

use crate::error::Error;

use super::signals::Signals;
use super::streams;

/// Bytes on their way from one descriptor to another.
pub struct Pump {
    from: Option<OwnedFd>,
    /// Where they go.
    pub to: OwnedFd,
    /// Does it lead from the guest to the user?
    pub outward: bool,
    /// Is a loss on this way one of the session? Not on a terminal, where somebody sees
    /// it, nor of error messages.
    is_told: bool,
    /// What of it was lost.
    pub failure: Option<Failure>,
    buffer: Vec<u8>,
}

/// Why not all of what was said has arrived.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// Standard input couldn't be read to its end.
    Input(Errno),
    /// Standard output couldn't be written.
    Output(Errno),
}

impl Failure {
    /// However the program has ended: what it knows isn't all that it has done.
    pub fn explain(self, name: &GuestName, outcome: Outcome) -> Error {
        let (what, cause) = match self {
            Self::Input(cause) => ("read all of standard input for", cause),
            Self::Output(cause) => ("write to standard output all that comes from", cause),
        };
        let cause = io::Error::from(cause);
        Error::new(format!(
            "cannot {what} the command in guest '{name}', which ended with {outcome}: {cause}"
        ))
    }
}

/// More than a pipe takes at once.
const CHUNK: usize = 16 * 1024;

/// So many milliseconds may whoever reads take for the next bytes of a program that was
/// told to end.
const PATIENCE: u16 = 5_000;

/// The most that a pipe holds (pipe(7), `/proc/sys/fs/pipe-max-size`).
const LARGEST_PIPE: usize = 1 << 20;

impl Pump {
    /// Those between the user's standard streams and a program's three pipes: to its
    /// input, from its output, from its messages.
    ///
    /// # Errors
    /// When there are too many descriptors.
    pub fn of_pipes([input, output, errors]: [OwnedFd; 3]) -> io::Result<Vec<Self>> {
        rustix::io::ioctl_fionbio(&input, true)?;
        let mut typed = Self::new(io::stdin().as_fd().try_clone_to_owned()?, input, false).told();
        if streams::is_in_background() {
            typed.close();
        }
        Ok(vec![
            typed,
            Self::new(output, io::stdout().as_fd().try_clone_to_owned()?, true).told(),
            Self::new(errors, io::stderr().as_fd().try_clone_to_owned()?, true),
        ])
    }

    /// Those between the user's terminal and a session's: what is typed, then what is
    /// said.
    ///
    /// # Errors
    /// When there are too many descriptors.
    pub fn of_terminal(master: OwnedFd) -> io::Result<Vec<Self>> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let output = master.try_clone()?;
        Ok(vec![
            Self::new(io::stdin().as_fd().try_clone_to_owned()?, master, false),
            Self::new(output, io::stdout().as_fd().try_clone_to_owned()?, true),
        ])
    }

    fn new(from: OwnedFd, to: OwnedFd, outward: bool) -> Self {
        Self { from: Some(from), to, outward, is_told: false, failure: None, buffer: Vec::new() }
    }

    fn told(self) -> Self {
        Self { is_told: true, ..self }
    }

    fn note(&mut self, failure: Failure) {
        self.failure = self.is_told.then_some(failure);
    }

    /// Does nothing more come from where it leads from?
    pub fn is_at_end(&self) -> bool {
        self.from.is_none()
    }

    /// What is to be polled.
    pub fn watch(&self) -> Option<PollFd<'_>> {
        if self.buffer.is_empty() {
            return self.from.as_ref().map(|from| PollFd::new(from.as_fd(), PollFlags::POLLIN));
        }
        Some(PollFd::new(self.to.as_fd(), PollFlags::POLLOUT))
    }

    /// One read or write, if it can be done without waiting.
    pub fn turn(&mut self) {
        if self.buffer.is_empty() {
            if self.from.as_ref().is_some_and(|from| ready(from.as_fd(), PollFlags::POLLIN)) {
                self.fill();
            }
        } else if ready(self.to.as_fd(), PollFlags::POLLOUT) {
            self.drain();
        }
    }

    /// The program has ended: pass on what it wrote, and no more. Something
    /// that it has left behind may write without end, and whoever reads may have
    /// stopped doing so: returns a signal that ends this, also that which the program
    /// was told to end with.
    pub fn finish(&mut self, signals: &Signals, told: Option<i32>) -> Option<i32> {
        let mut left = LARGEST_PIPE / CHUNK;
        while !self.buffer.is_empty()
            || left > 0
                && self.from.as_ref().is_some_and(|from| ready(from.as_fd(), PollFlags::POLLIN))
        {
            if self.buffer.is_empty() {
                left = left.saturating_sub(1);
                self.fill();
                continue;
            }
            if let Some(signal) = self.wait_for_reader(signals, told) {
                return Some(signal);
            }
            self.drain();
        }
        None
    }

    /// Waits until something can be written, or for a signal.
    fn wait_for_reader(&self, signals: &Signals, told: Option<i32>) -> Option<i32> {
        let patience = PollTimeout::from(told.map(|_| PATIENCE));
        while !ready(self.to.as_fd(), PollFlags::POLLOUT) {
            let mut fds = vec![PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)];
            fds.extend(signals.watch());
            let is_over = poll(&mut fds, patience) == Ok(0);
            let signal = signals.take().into_iter().next().or(told.filter(|_| is_over));
            if signal.is_some() {
                return signal;
            }
        }
        None
    }

    fn fill(&mut self) {
        let Some(from) = &self.from else { return };
        let mut chunk = vec![0; CHUNK];
        match nix::unistd::read(from, &mut chunk) {
            Ok(0) => self.close(),
            Ok(length) => {
                chunk.truncate(length);
                self.buffer = chunk;
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(cause) => {
                // EIO is how a terminal says that it is gone, or others'; nohup(1) gives an
                // input that isn't for reading.
                let is_none = cause == Errno::EBADF || cause == Errno::EIO && from.is_terminal();
                if !self.outward && !is_none {
                    self.note(Failure::Input(cause));
                }
                self.close();
            }
        }
    }

    fn drain(&mut self) {
        // What poll(2) allows without waiting is PIPE_BUF bytes.
        let piece = self.buffer.get(..libc::PIPE_BUF.min(self.buffer.len())).unwrap_or_default();
        match nix::unistd::write(&self.to, piece) {
            Ok(length) => drop(self.buffer.drain(..length.min(self.buffer.len()))),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(cause) => {
                self.buffer.clear();
                // Whoever reads may leave when he has enough, as a program may that is
                // given more than it wants.
                if self.outward && cause != Errno::EPIPE {
                    self.note(Failure::Output(cause));
                }
                self.close();
            }
        }
    }

    /// Nothing more comes; the program sees the end of its input.
    fn close(&mut self) {
        self.from = None;
        if !self.outward
            && let Ok(null) = File::options().write(true).open("/dev/null")
        {
            self.to = null.into();
        }
    }
}

fn ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let mut fds = [PollFd::new(fd, flags)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;
    use signal_hook::consts::{SIGHUP, SIGTERM};

    /// A pump whose program has ended, with its last words in it, and what reads them.
    fn with_last_words() -> (Pump, OwnedFd) {
        let (from, program) = rustix::pipe::pipe().unwrap();
        let (reader, to) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&program, b"last words").unwrap();
        (Pump::new(from, to, true).told(), reader)
    }

    /// The same, whose reader takes nothing.
    fn held_up() -> (Pump, OwnedFd) {
        let (pump, reader) = with_last_words();
        rustix::io::ioctl_fionbio(&pump.to, true).unwrap();
        while rustix::io::write(&pump.to, &[0; CHUNK]).is_ok() {}
        rustix::io::ioctl_fionbio(&pump.to, false).unwrap();
        (pump, reader)
    }

    #[test]
    fn last_words_are_passed_on_whoever_was_told_to_end() {
        for told in [None, Some(SIGTERM)] {
            let (mut pump, reader) = with_last_words();
            assert_eq!(pump.finish(&Signals::caught_by(Vec::new()), told), None);
            let mut said = [0; 16];
            assert_eq!(rustix::io::read(&reader, &mut said).unwrap(), 10);
        }
    }

    #[test]
    fn a_signal_ends_the_wait_for_a_reader() {
        let (mut pump, _reader) = held_up();
        let (read, write) = runtime::pair().unwrap();
        rustix::io::write(&write, b"X").unwrap();
        let signals = Signals::caught_by(vec![(SIGHUP, read)]);
        assert_eq!(pump.finish(&signals, None), Some(SIGHUP));
    }
}
