//! The keeper: what must not die while a guest runs, and so does almost
//! nothing.
//!
//! It is the host-side parent of the guest's PID 1. It holds that process's
//! wait status, the host's end of the link, and the console, which it drains
//! so that nobody inside ever blocks on it. One supervisor at a time
//! connects and gets copies of these descriptors; supervisors may die and be
//! replaced, the keeper stays until one of them has taken note of the end.
//! Should it be killed, the supervisor starts another one with the same
//! descriptors: that one isn't PID 1's parent, and can tell that it has ended,
//! but not how. It has no capabilities, reads no file and knows no policy
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
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use shared::journal::stream;
use shared::keeper::{FromKeeper, HANDED, KEEPER_PROTOCOL, ToKeeper, fd};
use shared::link::{Link, RecvError};

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
    /// Readable when it has ended.
    handle: OwnedFd,
    /// How PID 1 ended. It is not reaped before the keeper goes, so that its
    /// pid means nobody else meanwhile.
    ended: Option<FromKeeper>,
    supervisors: UnixListener,
    supervisor: Option<Link<FromKeeper, ToKeeper>>,
    link: OwnedFd,
    notify: OwnedFd,
    /// Links of eBPF programs, attached as long as these are open.
    programs: [Option<OwnedFd>; 2],
    console: Console,
}

impl Keeper {
    fn new(arguments: &[OsString]) -> Option<Self> {
        // They may be missing: before anything else can get their numbers.
        let journal = sys::take_descriptor(fd::JOURNAL);
        let programs = [fd::LOOKUP, fd::FORKS].map(sys::take_descriptor);
        let handle = sys::take_descriptor(fd::INIT)?;
        let text = |index: usize| arguments.get(index).and_then(|a| a.to_str());
        let init = Pid::from_raw(text(0)?.parse().ok()?);
        let log_name = text(1)?;
        let limit: u64 = text(2)?.parse().ok()?;

        // The keeper's end would take the guest's wait status with it: no
        // signal but SIGKILL ends it.
        SigSet::all().thread_block().ok()?;

        let supervisors = UnixListener::from(sys::take_descriptor(fd::SUPERVISORS)?);
        let clients = UnixListener::from(sys::take_descriptor(fd::CONSOLES)?);
        supervisors.set_nonblocking(true).ok()?;
        clients.set_nonblocking(true).ok()?;
        let link = sys::take_descriptor(fd::LINK)?;
        let notify = sys::take_descriptor(fd::NOTIFY)?;
        let master = sys::take_descriptor(fd::CONSOLE)?;
        let names = text(3).zip(text(4));
        let names = names.map(|(identifier, unit)| (identifier.to_owned(), unit.to_owned()));
        let again = move || match &names {
            Some((identifier, unit)) => stream(identifier, unit).ok(),
            None => None,
        };
        let journal = Journal::new(journal, again);
        let log = Log::new(sys::take_descriptor(fd::LOG_DIRECTORY)?, log_name, limit);
        let ring = Ring::new(sys::take_descriptor(fd::RING)?);
        let console = Console::new(master, clients, ring, log, journal);
        Some(Self {
            init,
            handle,
            ended: None,
            supervisors,
            supervisor: None,
            link,
            notify,
            programs,
            console,
        })
    }

    /// From here on nothing may end this process but its release.
    fn run(&mut self) {
        self.look_at_init();
        loop {
            self.wait();
            self.look_at_init();
            self.console.turn();
            if self.listen() == Released::Yes {
                self.console.last_turn();
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
        // Readable from its end on, also while a tracer of it hasn't taken note.
        let is_untold = self.ended.is_none() && self.has_gone();
        if self.ended.is_none() && !is_untold {
            fds.push(PollFd::new(self.handle.as_fd(), PollFlags::POLLIN));
        }
        // Others wait in the queue while one is served.
        let supervisor = self.supervisor.as_ref().map(AsFd::as_fd);
        let supervisor = supervisor.unwrap_or(self.supervisors.as_fd());
        fds.push(PollFd::new(supervisor, PollFlags::POLLIN));
        let quiet_until = self.console.watch(&mut fds);
        let look_again = is_untold.then_some(Duration::from_millis(200));
        let timeout = match look_again.into_iter().chain(quiet_until).min() {
            Some(pause) => PollTimeout::try_from(pause.max(Duration::from_millis(1)))
                .unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let _ = poll(&mut fds, timeout);
    }

    /// Takes note of the end of PID 1, and tells the supervisor.
    fn look_at_init(&mut self) {
        if self.ended.is_none() {
            self.ended = match sys::peek(self.init) {
                Ok(outcome) => outcome.map(FromKeeper::Ended),
                // It is another process's child.
                Err(_) => self.has_gone().then_some(FromKeeper::EndedUnseen),
            };
            self.report_end();
        }
    }

    fn has_gone(&self) -> bool {
        let mut fds = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn report_end(&self) {
        if let (Some(end), Some(supervisor)) = (&self.ended, &self.supervisor) {
            let _ = supervisor.send(end);
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
            let stdin = std::io::stdin();
            // Standard input is /dev/null.
            let [lookup, forks] =
                self.programs.each_ref().map(|it| it.as_ref().map_or(stdin.as_fd(), AsFd::as_fd));
            let (console, notify) = (self.console.master(), self.notify.as_fd());
            let init = self.handle.as_fd();
            let fds: [_; HANDED] = [self.link.as_fd(), console, notify, init, lookup, forks];
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
