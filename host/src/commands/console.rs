//! `vserver console`: the guest's console on this terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockType;
use shared::name::GuestName;

use crate::cli::ConsoleArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::control::{Client, Snapshot};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::runtime::{self, RunDir};
use crate::session::{self, RawTerminal};

/// Ctrl-], as telnet(1) and machinectl(1) have it.
const ESCAPE: u8 = 0x1d;

/// How long a guest whose console has gone is asked whether it has another one.
const PATIENCE: Duration = Duration::from_secs(5);

/// The wait between two such questions, in milliseconds.
const RETRY: u8 = 50;

/// Why nothing comes from a console any more.
enum End {
    /// Whoever looked has gone.
    Left,
    /// Whoever held it has, or has let this one go: the guest's keeper.
    Closed {
        /// Did it say anything before?
        was_heard: bool,
    },
}

/// Shows what the console said last and what it says from now on, and passes
/// on what is typed, until Ctrl-] or the end of the boot.
pub(super) fn run(args: &ConsoleArgs, paths: &Paths) -> Result<Exit> {
    let name = &args.name;
    let Some(client) = Client::connect(paths, name)? else {
        config::load(paths, name)?;
        return Err(Error::not_running(name));
    };
    let mut guest = client.status()?;
    drop(client);
    let mut console = connect(paths, name)?;
    output::remark(format_args!("console of guest '{name}'; Ctrl-] leaves it"));
    // Or the terminal would stay as it is made now.
    let stop = Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let mut raw = Some(RawTerminal::begin());
    let result = loop {
        match relay(&console, &stop) {
            Ok(End::Left) => break Ok(Exit::DONE),
            Ok(End::Closed { was_heard }) => match next(paths, name, &guest, was_heard, &stop) {
                Ok(Some(next)) => {
                    if next.0.keeper_pid == guest.keeper_pid {
                        // In lines that begin at the left, which a raw terminal's don't.
                        drop(raw.take());
                        output::remark(format_args!("\n{}", gap(name)));
                        raw = Some(RawTerminal::begin());
                    }
                    (guest, console) = next;
                }
                Ok(None) => break Ok(Exit::DONE),
                Err(error) => break Err(error),
            },
            Err(error) => break Err(error),
        }
    };
    drop(raw);
    output::remark("");
    result
}

pub(super) fn connect(paths: &Paths, name: &GuestName) -> Result<OwnedFd> {
    let path = RunDir::new(paths, name).console();
    runtime::connect(&path, SockType::Stream)
        .map_err(|error| Error::path("connect to", &path, error))
}

/// What is to be said when the same keeper is listened to again.
pub(super) fn gap(name: &GuestName) -> String {
    format!(
        "some of what guest '{name}' wrote meanwhile may be missing, and what it wrote last comes \
         again"
    )
}

/// The console that the same boot has from another keeper, or from the same one, which
/// lets those go that don't keep up with the guest. `None` at the end of the boot, and
/// when this is to end.
pub(super) fn next(
    paths: &Paths,
    name: &GuestName,
    before: &Snapshot,
    was_heard: bool,
    stop: &Interrupt,
) -> Result<Option<(Snapshot, OwnedFd)>> {
    let deadline = Instant::now() + PATIENCE;
    while !stop.is_asked() && Instant::now() < deadline {
        let Ok(Some(client)) = Client::connect(paths, name) else { return Ok(None) };
        if let Ok(guest) = client.status() {
            if guest.boot != before.boot || guest.keeper_pid == 0 {
                return Ok(None);
            }
            // One that is dead, as its supervisor may not know yet, can't be connected to.
            if (was_heard || guest.keeper_pid != before.keeper_pid)
                && let Ok(console) = connect(paths, name)
            {
                return Ok(Some((guest, console)));
            }
        }
        let _ = poll(&mut Vec::from_iter(stop.watched()), PollTimeout::from(RETRY));
    }
    if stop.is_asked() {
        return Ok(None);
    }
    Err(Error::new(format!("the console of guest '{name}' lets nobody more look at it"))
        .hint(format!("others may look already; what it says is in: vserver logs {name}")))
}

fn relay(console: &OwnedFd, stop: &Interrupt) -> Result<End> {
    let stdin = io::stdin();
    let (mut typing, mut was_heard) = (!session::is_in_background(), false);
    // As much as a pipe that has room takes without waiting (pipe(7), PIPE_BUF).
    let mut buffer = [0; 4096];
    while !stop.is_asked() {
        let mut fds = vec![PollFd::new(console.as_fd(), PollFlags::POLLIN)];
        if typing {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        fds.extend(stop.watched());
        let _ = poll(&mut fds, PollTimeout::NONE);
        let ready = |index: usize| {
            fds.get(index).and_then(PollFd::revents).is_some_and(|events| !events.is_empty())
        };
        let (said, typed) = (ready(0), typing && ready(1));
        if said {
            // A write that is held up would go on after a signal (signal(7), SA_RESTART).
            let stdout = io::stdout();
            let mut room = vec![PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
            room.extend(stop.watched());
            let _ = poll(&mut room, PollTimeout::NONE);
            if stop.is_asked() {
                return Ok(End::Left);
            }
            match nix::unistd::read(console, &mut buffer) {
                Ok(0) => return Ok(End::Closed { was_heard }),
                Ok(length) => {
                    was_heard = true;
                    if output::stream(buffer.get(..length).unwrap_or_default())?.is_break() {
                        return Ok(End::Left);
                    }
                }
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
                Err(_) => return Ok(End::Closed { was_heard }),
            }
        }
        if typed {
            let length = nix::unistd::read(stdin.as_fd(), &mut buffer).unwrap_or(0);
            typing = length > 0;
            let keys = buffer.get(..length).unwrap_or_default();
            if keys.contains(&ESCAPE) {
                return Ok(End::Left);
            }
            let _ = nix::unistd::write(console, keys);
        }
    }
    Ok(End::Left)
}
