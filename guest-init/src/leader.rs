//! A machine's leader beside a PID 1 that isn't guest-init: it hears the signals by
//! which the host asks for a shutdown ([`shared::leader`]).

use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use shared::leader::FromLeader;
use shared::link::Link;
use shared::message::{LINK_FD, Power};

use crate::machine::Sig;
use crate::{signals, sys};

/// Runs until the supervisor closes its end, or somebody ends it: the guest's own
/// shutdown sends SIGTERM to all, and waits for them.
pub fn main() -> ExitCode {
    sys::frugal_allocator();
    let _ = nix::sys::prctl::set_name(c"vserver-leader");
    let Some(socket) = sys::take_descriptor(LINK_FD) else { return ExitCode::FAILURE };
    let queue = SigSet::all().thread_block().and_then(|()| {
        SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
    });
    let Ok(queue) = queue else { return ExitCode::FAILURE };
    run(&queue, &Link::new(socket));
    ExitCode::SUCCESS
}

fn run(queue: &SignalFd, supervisor: &Link<FromLeader, ()>) {
    loop {
        let mut fds = [
            PollFd::new(queue.as_fd(), PollFlags::POLLIN),
            PollFd::new(supervisor.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        if fds.iter().skip(1).any(|fd| fd.any().unwrap_or(true)) {
            return;
        }
        while let Ok(Some(info)) = queue.read_signal() {
            if info.ssi_signo == Signal::SIGTERM as u32 {
                return;
            }
            // Inside there are other ways to shut down.
            let asked = signals::read(&info).filter(|_| signals::is_from_host(&info));
            if let Some(power) = asked.and_then(power_of) {
                // Where there is no room it has been said.
                let _ = supervisor.send(&FromLeader::Asked(power));
            }
        }
    }
}

fn power_of(signal: Sig) -> Option<Power> {
    match signal {
        Sig::Halt => Some(Power::Halt),
        Sig::PowerOff => Some(Power::PowerOff),
        Sig::Reboot => Some(Power::Reboot),
        Sig::Now(power) => Some(power),
        _ => None,
    }
}
