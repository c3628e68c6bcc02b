//! The keeper: what must not die while a guest runs, and so does almost
//! nothing.
//!
//! It is the host-side parent of the guest's PID 1. It holds that process's
//! wait status, the host's end of the link, and the console, which it drains
//! so that nobody inside ever blocks on it. One supervisor at a time
//! connects and gets copies of these descriptors; supervisors may die and be
//! replaced, the keeper stays until one of them has taken note of the end.
//! It has no capabilities, reads no file and knows no policy
//! (`shared::keeper` has its messages).

mod console;
mod journal;
mod log;
mod ring;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use shared::keeper::{FromKeeper, KEEPER_PROTOCOL, ToKeeper, fd};
use shared::link::{Link, RecvError};
use shared::outcome::Outcome;

use crate::sys;

use console::Console;
use journal::Journal;
use log::Log;
use ring::Ring;

/// Runs the keeper with its arguments after the name (`KEEPER_NAME`), and
/// the descriptors of `shared::keeper::fd`; returns when it is released.
pub fn main(arguments: &[OsString]) -> ExitCode {
    sys::frugal_allocator();
    let _ = nix::sys::prctl::set_name(c"vserver-keeper");
    match Keeper::new(arguments) {
        Some(mut keeper) => {
            keeper.run();
            ExitCode::SUCCESS
        }
        None => {
            console::complain("keeper: started by hand; only vserver can start it\n");
            ExitCode::FAILURE
        }
    }
}

struct Keeper {
    init: Pid,
    /// How PID 1 ended. It is not reaped before the keeper goes, so that its
    /// pid means nobody else meanwhile.
    ended: Option<Outcome>,
    children: SignalFd,
    supervisors: UnixListener,
    supervisor: Option<Link<FromKeeper, ToKeeper>>,
    link: OwnedFd,
    notify: OwnedFd,
    console: Console,
}

impl Keeper {
    fn new(arguments: &[OsString]) -> Option<Self> {
        // It may be missing: before anything else can get its number.
        let journal = Journal::new(sys::take_descriptor(fd::JOURNAL));
        let text = |index: usize| arguments.get(index).and_then(|a| a.to_str());
        let init = Pid::from_raw(text(0)?.parse().ok()?);
        let log_name = text(1)?;
        let limit: u64 = text(2)?.parse().ok()?;

        let mut child = SigSet::empty();
        child.add(Signal::SIGCHLD);
        // The keeper's end would take the guest's wait status with it: no
        // signal but SIGKILL ends it.
        SigSet::all().thread_block().ok()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let children = SignalFd::with_flags(&child, flags).ok()?;

        let supervisors = UnixListener::from(sys::take_descriptor(fd::SUPERVISORS)?);
        let clients = UnixListener::from(sys::take_descriptor(fd::CONSOLES)?);
        supervisors.set_nonblocking(true).ok()?;
        clients.set_nonblocking(true).ok()?;
        let link = sys::take_descriptor(fd::LINK)?;
        let notify = sys::take_descriptor(fd::NOTIFY)?;
        let master = sys::take_descriptor(fd::CONSOLE)?;
        let log = Log::new(sys::take_descriptor(fd::LOG_DIRECTORY)?, log_name, limit);
        let ring = Ring::new(sys::take_descriptor(fd::RING)?);
        let console = Console::new(master, clients, ring, log, journal);
        Some(Self {
            init,
            ended: None,
            children,
            supervisors,
            supervisor: None,
            link,
            notify,
            console,
        })
    }

    /// From here on nothing may end this process but its release.
    fn run(&mut self) {
        self.look_at_init();
        loop {
            self.wait();
            while let Ok(Some(_)) = self.children.read_signal() {}
            self.look_at_init();
            self.console.turn();
            if self.listen() == Released::Yes {
                self.console.turn();
                // The host's init may take its time with what is left to it.
                sys::reap();
                return;
            }
            self.accept();
        }
    }

    /// Sleeps until something happens. Which descriptor it was doesn't
    /// matter: all of them are non-blocking and tried in turn.
    fn wait(&self) {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(16);
        fds.push(PollFd::new(self.children.as_fd(), PollFlags::POLLIN));
        // Others wait in the queue while one is served.
        let supervisor = self.supervisor.as_ref().map(AsFd::as_fd);
        let supervisor = supervisor.unwrap_or(self.supervisors.as_fd());
        fds.push(PollFd::new(supervisor, PollFlags::POLLIN));
        let quiet_until = self.console.watch(&mut fds);
        let timeout = match quiet_until {
            Some(pause) => PollTimeout::try_from(pause.max(Duration::from_millis(1)))
                .unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let _ = poll(&mut fds, timeout);
    }

    /// Takes note of the end of PID 1, and tells the supervisor.
    fn look_at_init(&mut self) {
        if self.ended.is_none() {
            self.ended = sys::peek(self.init);
            self.report_end();
        }
    }

    fn report_end(&self) {
        if let (Some(outcome), Some(supervisor)) = (self.ended, &self.supervisor) {
            let _ = supervisor.send(&FromKeeper::Ended(outcome));
        }
    }

    /// Takes the next supervisor when the last one has gone.
    fn accept(&mut self) {
        while self.supervisor.is_none()
            && let Ok((connection, _)) = self.supervisors.accept()
        {
            if connection.set_nonblocking(true).is_err() {
                continue;
            }
            let link = Link::new(OwnedFd::from(connection));
            let hello = FromKeeper::Hello {
                protocol: KEEPER_PROTOCOL,
                pid: Pid::this().as_raw(),
                init_pid: self.init.as_raw(),
            };
            let fds = [self.link.as_fd(), self.console.master(), self.notify.as_fd()];
            if link.send_with_fds(&hello, &fds).is_ok() {
                self.supervisor = Some(link);
                self.report_end();
            }
        }
    }

    /// Reads what the supervisor says.
    fn listen(&mut self) -> Released {
        while let Some(supervisor) = &self.supervisor {
            match supervisor.recv() {
                Ok(ToKeeper::Release) if self.ended.is_some() => return Released::Yes,
                Ok(ToKeeper::Release) | Err(RecvError::Nonsense) => {}
                Ok(ToKeeper::Listen) => {}
                Err(RecvError::Empty) => break,
                // With room for them only when some are there: that takes memory.
                Err(RecvError::Descriptors) => match supervisor.recv_with_fds(sys::adopt) {
                    Ok((ToKeeper::Listen, fds)) => self.listen_on(fds),
                    Ok(_) | Err(RecvError::Nonsense) => {}
                    Err(_) => self.supervisor = None,
                },
                Err(RecvError::Closed | RecvError::Os(_)) => self.supervisor = None,
            }
        }
        Released::No
    }

    /// Replaces the sockets that nobody finds any more.
    fn listen_on(&mut self, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter().map(UnixListener::from);
        if let (Some(supervisors), Some(clients)) = (fds.next(), fds.next())
            && supervisors.set_nonblocking(true).is_ok()
            && clients.set_nonblocking(true).is_ok()
        {
            self.supervisors = supervisors;
            self.console.listen_on(clients);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Released {
    Yes,
    No,
}
