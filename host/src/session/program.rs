//! A session's program, as its parent sees it.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use shared::outcome::Outcome;

/// The helper's child.
pub struct Program {
    /// Its number on the host. It stays its own until it has been waited for.
    pub pid: i32,
    /// Refers to it.
    pub pidfd: OwnedFd,
}

impl Program {
    /// Waits for its end; `None` if that can't be.
    pub fn wait(&self) -> Option<Outcome> {
        loop {
            let status = match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Ok(Some(status)) => status,
                Err(Errno::INTR) => continue,
                Ok(None) | Err(_) => return None,
            };
            let exited = status.exit_status().map(|code| Outcome::Exited(code as u8));
            let killed = status.terminating_signal().map(|n| Outcome::Killed(n as u8));
            match exited.or(killed) {
                None => self.go_on(status.trapping_signal()),
                ended => return ended,
            }
        }
    }

    /// A program can make its parent its tracer (ptrace(2), PTRACE_TRACEME);
    /// some do, to keep others from it. From then on every signal stops it
    /// until the tracer says how it goes on: as if it had none. A trap is what
    /// an execve(2) makes of being traced, and nobody else sent it.
    fn go_on(&self, signal: Option<i32>) {
        let signal = signal.and_then(|number| Signal::try_from(number).ok());
        let signal = signal.filter(|signal| *signal != Signal::SIGTRAP);
        let _ = ptrace::detach(Pid::from_raw(self.pid), signal);
    }
}
