//! `vserver start --foreground`: the guest's console on this terminal, until
//! the guest is down. SIGINT, SIGTERM and SIGHUP shut it down.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shared::message::Power;
use shared::name::GuestName;

use crate::commands::{Exit, console, lifecycle, output};
use crate::control::{Client, Event, Phase, Request, Snapshot, start_failed};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;

/// So many milliseconds may whoever reads take for the next bytes of a guest that is down,
/// once this was told to end.
const PATIENCE: u16 = 5_000;

/// So many pieces of it are left in a console at most.
const LAST_PIECES: usize = 256;

pub(super) fn run(name: &GuestName, paths: &Paths, wanted: &lifecycle::Start) -> Result<Exit> {
    let interrupt =
        Interrupt::watch().map_err(|error| Error::os("cannot watch for signals", error))?;
    // Until there is something to shut down.
    let launched = lifecycle::launch(paths, name, wanted, &|| interrupt.check())?;
    let Some(mut client) = launched else { return Ok(Exit::DONE) };
    let mut shown = Shown::new(paths, name, &interrupt);
    let mut failure = None;
    let mut is_down = false;
    let order = Request::Stop { power: Power::PowerOff, timeout_ms: None, no_kill: false };
    let mut wish = &Request::Subscribe;
    loop {
        if interrupt.is_asked() {
            interrupt.answer();
            wish = &order;
            client.send(wish)?;
        }
        let stdout = io::stdout();
        let mut fds = vec![PollFd::new(client.as_fd(), PollFlags::POLLIN)];
        fds.extend(interrupt.watched());
        let others = fds.len();
        fds.extend(shown.watch(stdout.as_fd()));
        let _ = poll(&mut fds, PollTimeout::NONE);
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        if fds.get(others).is_some_and(is_ready) {
            shown.turn();
        }
        while let Some(event) = client.try_next()? {
            match event {
                Some(Event::Phase(Phase::Booting)) => shown.boots(),
                Some(Event::Phase(Phase::Stopped)) => is_down = true,
                Some(Event::Failed { text, hint }) => failure = Some(start_failed(text, hint)),
                // It stays as long as the guest does, and says why.
                Some(Event::Unkillable(left)) => {
                    output::warn(lifecycle::unkillable(name, &left));
                }
                Some(_) => {}
                None => match next(paths, name, is_down || failure.is_some(), wish)? {
                    Some(next) => {
                        client = next;
                        shown.is_there();
                    }
                    None => {
                        shown.finish(*wish == order);
                        return failure.map_or(Ok(Exit::DONE), Err);
                    }
                },
            }
        }
    }
}

/// The next supervisor, if only the last one has ended, and not the guest. It may not have
/// heard of what is wished of it.
fn next(paths: &Paths, name: &GuestName, is_down: bool, wish: &Request) -> Result<Option<Client>> {
    let next = if is_down { None } else { lifecycle::successor(paths, name)? };
    let Some((client, _)) = next else { return Ok(None) };
    client.send(wish)?;
    Ok(Some(client))
}

/// The guest's console on standard output.
struct Shown<'a> {
    paths: &'a Paths,
    name: &'a GuestName,
    interrupt: &'a Interrupt,
    /// With the guest as it was when that was connected to.
    console: Option<(Snapshot, OwnedFd)>,
    /// Has it said anything?
    was_heard: bool,
    /// Does it say something that isn't passed on yet?
    speaks: bool,
    /// Has the guest another one by now?
    is_old: bool,
}

impl<'a> Shown<'a> {
    fn new(paths: &'a Paths, name: &'a GuestName, interrupt: &'a Interrupt) -> Self {
        let (was_heard, speaks, is_old) = (false, false, false);
        Self { paths, name, interrupt, console: None, was_heard, speaks, is_old }
    }

    fn show(&mut self, console: Option<(Snapshot, OwnedFd)>) {
        (self.console, self.was_heard, self.is_old) = (console, false, false);
    }

    /// The guest boots, with a console of this boot; what is left in the last one comes
    /// first.
    fn boots(&mut self) {
        self.is_old = true;
        self.is_there();
    }

    /// The guest has a console.
    fn is_there(&mut self) {
        if self.console.is_none() {
            let found = Client::find(self.paths, self.name).ok().flatten();
            let console = console::connect(self.paths, self.name).ok();
            self.show(found.map(|(_, guest)| guest).zip(console));
        }
    }

    /// What is to be polled: the console, and when that speaks whether there is room for it
    /// in standard output. A write that is held up would go on after a signal (signal(7),
    /// `SA_RESTART`), which nobody would hear then.
    fn watch<'f>(&'f self, stdout: BorrowedFd<'f>) -> Option<PollFd<'f>> {
        let (_, console) = self.console.as_ref()?;
        Some(match self.speaks {
            true => PollFd::new(stdout, PollFlags::POLLOUT),
            false => PollFd::new(console.as_fd(), PollFlags::POLLIN),
        })
    }

    /// That is so.
    fn turn(&mut self) {
        if !mem::replace(&mut self.speaks, true) {
            return;
        }
        self.speaks = false;
        let Some((guest, console)) = &self.console else { return };
        let next = match pass_on(console) {
            Ok(Heard::Something) => return self.was_heard = true,
            Ok(Heard::Nothing) => return,
            Ok(Heard::End) if self.is_old => {
                self.console = None;
                return self.is_there();
            }
            Ok(Heard::End) => {
                console::next(self.paths, self.name, guest, self.was_heard, self.interrupt)
            }
            Err(error) => Err(error),
        };
        match next {
            Ok(next) => {
                let is_of = |keeper| next.as_ref().is_some_and(|(now, _)| now.keeper_pid == keeper);
                if is_of(guest.keeper_pid) {
                    output::remark(console::gap(self.name));
                }
                self.show(next);
            }
            // The guest is looked after all the same.
            Err(error) => {
                output::warn(error);
                self.show(None);
            }
        }
    }

    /// Passes on what the guest has said last, for as long as whoever reads takes; not if
    /// this `was_told` to end, or is now.
    fn finish(&self, was_told: bool) {
        let Some((_, console)) = &self.console else { return };
        let patience = PollTimeout::from(was_told.then_some(PATIENCE));
        let stdout = io::stdout();
        for _ in 0..LAST_PIECES {
            let mut said = [PollFd::new(console.as_fd(), PollFlags::POLLIN)];
            if !matches!(poll(&mut said, PollTimeout::ZERO), Ok(1)) {
                return;
            }
            let mut room = vec![PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
            room.extend(self.interrupt.watched());
            let has_come = poll(&mut room, patience);
            if has_come == Ok(0) || self.interrupt.is_asked() {
                return;
            }
            if has_come.is_ok() && !matches!(pass_on(console), Ok(Heard::Something)) {
                return;
            }
        }
    }
}

/// What has come from a console.
enum Heard {
    Something,
    Nothing,
    End,
}

/// Passes on what the console says, as much as a pipe that has room takes without waiting
/// (pipe(7), `PIPE_BUF`).
fn pass_on(console: &OwnedFd) -> Result<Heard> {
    let mut buffer = [0; libc::PIPE_BUF];
    match nix::unistd::read(console, &mut buffer) {
        Ok(0) => Ok(Heard::End),
        Ok(length) => {
            // Also for a reader who has left.
            let _ = output::stream(buffer.get(..length).unwrap_or_default())?;
            Ok(Heard::Something)
        }
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(Heard::Nothing),
        Err(_) => Ok(Heard::End),
    }
}
