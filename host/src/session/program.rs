//! A session's program, as its parent sees it.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::ptrace;
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use shared::outcome::Outcome;

use crate::sys;

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
    /// until the tracer says how it goes on: as if it had none. An execve(2) makes
    /// a trap of being traced, which looks like one that the program has sent to
    /// itself; a breakpoint's doesn't.
    fn go_on(&self, signal: Option<i32>) {
        let is_sent = || {
            let about = ptrace::getsiginfo(Pid::from_raw(self.pid));
            about.is_ok_and(|about| about.si_code == libc::SI_USER)
        };
        let signal = signal.filter(|signal| *signal != libc::SIGTRAP || !is_sent());
        let _ = sys::let_go(self.pid, signal.unwrap_or(0));
    }
}
