//! `vserver console`: the guest's console on this terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockType;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use crate::cli::ConsoleArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::control::Client;
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runtime::{self, RunDir};

/// Ctrl-], as telnet(1) and machinectl(1) have it.
const ESCAPE: u8 = 0x1d;

/// Shows what the console said last and what it says from now on, and passes
/// on what is typed, until Ctrl-] or the end of the boot.
pub(super) fn run(args: &ConsoleArgs, paths: &Paths) -> Result<Exit> {
    let name = &args.name;
    let Some(client) = Client::connect(paths, name)? else {
        config::load(paths, name)?;
        return Err(Error::not_running(name));
    };
    client.status()?;
    let path = RunDir::new(paths, name).console();
    let console = runtime::connect(&path, SockType::Stream)
        .map_err(|error| Error::path("connect to", &path, error))?;
    output::remark(format_args!("console of guest '{name}'; Ctrl-] leaves it"));
    let before = tcgetattr(io::stdin()).ok();
    if let Some(before) = &before {
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &raw);
    }
    let result = relay(&console);
    if let Some(before) = &before {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
    }
    output::remark("");
    result
}

fn relay(console: &OwnedFd) -> Result<Exit> {
    let stdin = io::stdin();
    let mut typing = true;
    let mut buffer = [0; 4096];
    loop {
        let mut fds = vec![PollFd::new(console.as_fd(), PollFlags::POLLIN)];
        if typing {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        let _ = poll(&mut fds, PollTimeout::NONE);
        let ready = |index: usize| {
            fds.get(index).and_then(PollFd::revents).is_some_and(|events| !events.is_empty())
        };
        let (said, typed) = (ready(0), typing && ready(1));
        if said {
            match nix::unistd::read(console, &mut buffer) {
                Ok(0) => return Ok(Exit::DONE),
                Ok(length) => {
                    if output::stream(buffer.get(..length).unwrap_or_default())?.is_break() {
                        return Ok(Exit::DONE);
                    }
                }
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
                Err(_) => return Ok(Exit::DONE),
            }
        }
        if typed {
            let length = nix::unistd::read(stdin.as_fd(), &mut buffer).unwrap_or(0);
            typing = length > 0;
            let keys = buffer.get(..length).unwrap_or_default();
            if keys.contains(&ESCAPE) {
                return Ok(Exit::DONE);
            }
            let _ = nix::unistd::write(console, keys);
        }
    }
}
