//! The command on the outside, once it has sent a command in: passes signals
//! on, and finds out how the command ended.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{getpgrp, tcgetpgrp, tcsetpgrp};
use rustix::process::{Pid, WaitOptions, waitpid};
use shared::link::{Link, RecvError};
use shared::outcome::Outcome;

use crate::error::{Error, Result};
use crate::sys;

use super::outside::{Wish, failed};
use super::report::{FromInside, News};

/// What is heard of a command.
pub struct Watch {
    link: Link<(), FromInside>,
    news: OwnedFd,
    signals: SignalFd,
    /// Is the terminal ours?
    foreground: bool,
    /// The command's process, once it is born.
    process: Option<OwnedFd>,
    /// A child that is gone when the command is executed.
    pub guide: Option<i32>,
}

impl Watch {
    /// Before anything is sent in.
    pub fn new(link: Link<(), FromInside>, news: OwnedFd, signals: SignalFd) -> Self {
        let foreground = tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
        Self { link, news, signals, foreground, process: None, guide: None }
    }

    /// Waits until a new context is there, or its maker has ended.
    pub fn await_ready(&mut self, wish: &Wish, maker: &OwnedFd) -> Result<(u32, u64)> {
        loop {
            match self.link.recv_with_fds(sys::adopt) {
                Ok((FromInside::Ready { number, pid_namespace }, _)) => {
                    return Ok((number, pid_namespace));
                }
                Ok((FromInside::Failed { step, errno }, _)) => {
                    return Err(failed(wish, step, errno));
                }
                Ok((FromInside::Born, fds)) => self.process = fds.into_iter().next(),
                Err(RecvError::Nonsense) => {}
                Err(RecvError::Empty) if !is_readable(maker) => {
                    let mut fds = [
                        PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
                        PollFd::new(maker.as_fd(), PollFlags::POLLIN),
                    ];
                    let _ = poll(&mut fds, PollTimeout::NONE);
                }
                Err(_) => return Err(Error::new("the context has ended at once")),
            }
        }
    }

    /// Passes signals on until the command has ended; only until it has begun
    /// if it isn't waited for.
    pub fn run(mut self, wish: &Wish) -> Result<Outcome> {
        let mut is_linked = true;
        loop {
            self.wait(is_linked);
            while is_linked {
                match self.link.recv_with_fds(sys::adopt) {
                    Ok((FromInside::Born, fds)) => self.process = fds.into_iter().next(),
                    Ok((FromInside::Failed { step, errno }, _)) => {
                        return Err(failed(wish, step, errno));
                    }
                    Ok(_) | Err(RecvError::Nonsense) => {}
                    Err(RecvError::Empty) => break,
                    // It closes when the command is executed.
                    Err(_) => is_linked = false,
                }
            }
            if !is_linked {
                if let Some(guide) = self.guide.take().and_then(Pid::from_raw) {
                    let _ = waitpid(Some(guide), WaitOptions::empty());
                }
                if wish.is_disconnected {
                    return Ok(Outcome::Exited(0));
                }
            }
            self.pass_signals();
            if !is_readable(&self.news) {
                continue;
            }
            match News::read(&self.news) {
                Some(News::Ended(outcome)) => return Ok(self.end(outcome)),
                Some(News::Stopped(signal)) => stop_too(signal, self.process.as_ref()),
                Some(News::Held) => {}
                // The reaper was killed, and with it all of the context.
                None => return Ok(self.end(Outcome::Killed(9))),
            }
        }
    }

    /// Until there is something to do. Signals are only looked for when they
    /// can be passed on.
    fn wait(&self, is_linked: bool) {
        let mut fds = vec![PollFd::new(self.news.as_fd(), PollFlags::POLLIN)];
        if is_linked {
            fds.push(PollFd::new(self.link.as_fd(), PollFlags::POLLIN));
        }
        if self.process.is_some() {
            fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        }
        let _ = poll(&mut fds, PollTimeout::NONE);
    }

    /// What the terminal sends reaches the command by itself.
    fn pass_signals(&self) {
        let Some(process) = &self.process else { return };
        while let Ok(Some(info)) = self.signals.read_signal() {
            let by_kernel = info.ssi_code > 0;
            if let (false, Ok(signal)) = (by_kernel, i32::try_from(info.ssi_signo)) {
                let _ = sys::signal_by_descriptor(process.as_fd(), signal);
            }
        }
    }

    /// A command that had the terminal to itself doesn't give it back.
    fn end(&self, outcome: Outcome) -> Outcome {
        if self.foreground {
            let mut terminal = SigSet::empty();
            terminal.add(Signal::SIGTTOU);
            let _ = terminal.thread_block();
            let _ = tcsetpgrp(io::stdin(), getpgrp());
        }
        outcome
    }
}

/// Every signal that can be passed on is read instead of taken. Gives the
/// mask as it was.
pub fn take_signals() -> io::Result<(SignalFd, SigSet)> {
    let mut taken = SigSet::all();
    for own in [
        Signal::SIGCHLD,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGPIPE,
        Signal::SIGABRT,
    ] {
        taken.remove(own);
    }
    let mask = taken.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok((SignalFd::with_flags(&taken, flags)?, mask))
}

/// A command that the terminal has stopped: its caller's shell is to see
/// that, and wakes both.
fn stop_too(signal: u8, process: Option<&OwnedFd>) {
    let by_terminal = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    if by_terminal.contains(&i32::from(signal)) {
        let _ = nix::sys::signal::raise(Signal::SIGSTOP);
        if let Some(process) = process {
            let _ = sys::signal_by_descriptor(process.as_fd(), libc::SIGCONT);
        }
    }
}

fn is_readable(pipe: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
}
