//! `vserver start --foreground`: the guest's console on this terminal, until
//! the guest is down. SIGINT and SIGTERM shut it down.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockType;
use shared::message::Power;
use shared::name::GuestName;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::commands::{Exit, lifecycle, output};
use crate::control::{Client, Event, Phase, Request, start_failed};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runtime::{self, RunDir};

pub(super) fn run(name: &GuestName, paths: &Paths, wanted: &lifecycle::Start) -> Result<Exit> {
    let signals = signals().map_err(|error| Error::os("cannot catch signals", error))?;
    // Until there is something to shut down.
    let check = || if taken(&signals) { Err(Error::new("interrupted")) } else { Ok(()) };
    let launched = lifecycle::launch(paths, name, wanted, &check)?;
    let Some(mut client) = launched else { return Ok(Exit::DONE) };
    let run = RunDir::new(paths, name);
    let connect = || runtime::connect(&run.console(), SockType::Stream).ok();
    let mut console: Option<OwnedFd> = None;
    let mut failure = None;
    let mut is_down = false;
    let order = Request::Stop { power: Power::PowerOff, timeout_ms: None, no_kill: false };
    let mut wish = &Request::Subscribe;
    loop {
        let mut fds = vec![
            PollFd::new(client.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(console.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        let _ = poll(&mut fds, PollTimeout::NONE);
        if taken(&signals) {
            wish = &order;
            client.send(wish)?;
        }
        match console.as_ref().map_or(Ok(true), copy) {
            Ok(true) => {}
            Ok(false) => console = None,
            // The guest is looked after all the same.
            Err(error) => {
                output::warn(error);
                console = None;
            }
        }
        while let Some(event) = client.try_next()? {
            match event {
                Some(Event::Phase(Phase::Booting)) => console = connect(),
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
                        console = console.or_else(connect);
                    }
                    None => return failure.map_or(Ok(Exit::DONE), Err),
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

/// Passes on what the console says; `false` when it has ended.
fn copy(console: &OwnedFd) -> Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match nix::unistd::read(console, &mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => {
                let _ = output::stream(buffer.get(..length).unwrap_or_default())?;
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(true),
            Err(_) => return Ok(false),
        }
    }
}

fn signals() -> io::Result<OwnedFd> {
    let (read, write) = runtime::pair()?;
    rustix::io::ioctl_fionbio(&read, true)?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

fn taken(pipe: &OwnedFd) -> bool {
    let mut bytes = [0; 64];
    matches!(nix::unistd::read(pipe, &mut bytes), Ok(n) if n > 0)
}
