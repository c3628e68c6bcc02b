//! `vserver console`: the guest's console on this terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockType;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use shared::name::GuestName;

use crate::cli::ConsoleArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::control::{Client, Snapshot};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::runtime::{self, RunDir};

/// Ctrl-], as telnet(1) and machinectl(1) have it.
const ESCAPE: u8 = 0x1d;

/// How long a guest whose console has gone is asked whether it has another one.
const PATIENCE: Duration = Duration::from_secs(5);

/// The wait between two such questions.
const RETRY: Duration = Duration::from_millis(50);

/// Why nothing comes from a console any more.
enum End {
    /// Whoever looked has gone.
    Left,
    /// Whoever held it has: the guest's keeper, with the boot or killed.
    Closed,
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
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let before = tcgetattr(io::stdin()).ok();
    if let Some(before) = &before {
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &raw);
    }
    let result = loop {
        match relay(&console, &interrupt) {
            Ok(End::Left) => break Ok(Exit::DONE),
            Ok(End::Closed) => match next(paths, name, &guest) {
                Some(next) => (guest, console) = next,
                None => break Ok(Exit::DONE),
            },
            Err(error) => break Err(error),
        }
    };
    if let Some(before) = &before {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
    }
    output::remark("");
    result
}

fn connect(paths: &Paths, name: &GuestName) -> Result<OwnedFd> {
    let path = RunDir::new(paths, name).console();
    runtime::connect(&path, SockType::Stream)
        .map_err(|error| Error::path("connect to", &path, error))
}

/// The console that the same boot has from another keeper, if it was the keeper that
/// has ended, and not the boot.
fn next(paths: &Paths, name: &GuestName, before: &Snapshot) -> Option<(Snapshot, OwnedFd)> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(guest) = Client::connect(paths, name).ok()??.status() {
            if guest.boot != before.boot || guest.keeper_pid == 0 {
                return None;
            }
            // Else its supervisor doesn't know yet.
            if guest.keeper_pid != before.keeper_pid
                && let Ok(console) = connect(paths, name)
            {
                return Some((guest, console));
            }
        }
        thread::sleep(RETRY);
    }
    None
}

fn relay(console: &OwnedFd, interrupt: &Interrupt) -> Result<End> {
    let stdin = io::stdin();
    let mut typing = true;
    let mut buffer = [0; 4096];
    loop {
        let mut fds = vec![PollFd::new(console.as_fd(), PollFlags::POLLIN)];
        if typing {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        // It ends with a signal, also where other calls go on (signal(7)).
        let _ = poll(&mut fds, PollTimeout::NONE);
        if interrupt.is_asked() {
            return Ok(End::Left);
        }
        let ready = |index: usize| {
            fds.get(index).and_then(PollFd::revents).is_some_and(|events| !events.is_empty())
        };
        let (said, typed) = (ready(0), typing && ready(1));
        if said {
            match nix::unistd::read(console, &mut buffer) {
                Ok(0) => return Ok(End::Closed),
                Ok(length) => {
                    if output::stream(buffer.get(..length).unwrap_or_default())?.is_break() {
                        return Ok(End::Left);
                    }
                }
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
                Err(_) => return Ok(End::Closed),
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
}
