//! `vserver pause` and `vserver resume`.

use std::thread;
use std::time::{Duration, Instant};

use shared::name::GuestName;

use crate::cli::PauseArgs;
use crate::commands::{Exit, dry_run, each, output, select};
use crate::config;
use crate::control::{Client, Request, TRIES};
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;

/// How long the kernel may take to freeze processes: one that waits for a
/// disk is frozen only afterwards.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const RETRY: Duration = Duration::from_millis(5);

/// Freezes all processes of guests where they are.
pub(super) fn pause(args: &PauseArgs, paths: &Paths) -> Result<Exit> {
    run(args, paths, true)
}

/// Lets them go on.
pub(super) fn resume(args: &PauseArgs, paths: &Paths) -> Result<Exit> {
    run(args, paths, false)
}

fn run(args: &PauseArgs, paths: &Paths, freeze: bool) -> Result<Exit> {
    let names = select::guests_that_run_too(&args.guests, paths)?;
    if args.dry_run {
        return dry_run::running(if freeze { "pause" } else { "resume" }, &names, paths);
    }
    each(&names, |name: &GuestName| set(paths, name, freeze))
}

fn set(paths: &Paths, name: &GuestName, freeze: bool) -> Result<Exit> {
    let mut tries = 0;
    let client = loop {
        let Some((client, before)) = Client::find(paths, name)? else {
            config::load(paths, name)?;
            return Err(Error::not_running(name));
        };
        if before.paused == freeze && tries == 0 {
            let how = if freeze { "is already paused" } else { "isn't paused" };
            output::warn(format_args!("guest '{name}' {how}"));
        }
        match is_done(&client, name, freeze, &Request::Freeze(freeze)) {
            // Or only its supervisor has ended.
            Err(error) if error.kind() == Kind::NotRunning && tries < TRIES => tries += 1,
            Ok(true) => return Ok(Exit::DONE),
            Ok(false) => break client,
            Err(error) => return Err(error),
        }
    };
    if !freeze {
        return Err(Error::new(format!("guest '{name}' doesn't go on")));
    }
    // Half frozen is no state to leave it in.
    client.send(&Request::Freeze(false))?;
    Err(too_slow(name))
}

/// Freezes a guest for as long as the connection lasts.
///
/// # Errors
/// When it can't be frozen.
pub(super) fn hold(client: &Client, name: &GuestName) -> Result<()> {
    if is_done(client, name, true, &Request::Hold)? { Ok(()) } else { Err(too_slow(name)) }
}

/// Asks for it, and waits until all processes stand still, or none has to any more; false
/// if that takes too long. The answer itself comes after the administrator's script.
fn is_done(client: &Client, name: &GuestName, freeze: bool, request: &Request) -> Result<bool> {
    let mut now = client.ask(request)?;
    let deadline = Instant::now() + PATIENCE;
    while now.frozen != freeze {
        if freeze && !now.paused {
            return Err(Error::new(format!("guest '{name}' was resumed meanwhile")));
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(RETRY);
        now = client.status()?;
    }
    Ok(true)
}

fn too_slow(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' can't be frozen"))
        .hint("a process in it waits for a device; see 'vps' for state D")
}
