//! `vserver wait`.

use std::time::Instant;

use shared::name::GuestName;

use crate::cli::{Awaited, WaitArgs};
use crate::commands::{Exit, output};
use crate::config;
use crate::control::{Change, Client, Phase, Watcher};
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;

/// Waits until each of the guests has been in the state.
pub(super) fn run(args: &WaitArgs, paths: &Paths) -> Result<Exit> {
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut watcher = Watcher::new(paths, &args.names, false)?;
    let mut left = args.names.clone();
    left.dedup();
    let mut failures = Vec::new();
    left.retain(|name| match is_there_or_never(name, args.state, paths) {
        Ok(is_there) => !is_there,
        Err(error) => {
            failures.push(error);
            false
        }
    });
    while !left.is_empty() {
        let changes = watcher.next(deadline, None)?;
        if changes.is_empty() {
            failures.extend(left.drain(..).map(|name| late(&name, args.state)));
        }
        for (name, change) in changes {
            let reached = match (args.state, change) {
                (Awaited::Running, Change::Told(status)) => status.phase == Phase::Running,
                (Awaited::Stopped, Change::Told(_)) => false,
                (_, Change::Unheard(error)) => {
                    if left.contains(&name) {
                        output::complain(&error);
                    }
                    false
                }
                // One that runs is waited for whatever has become of its
                // configuration; one that doesn't has to exist.
                (_, Change::Down) if left.contains(&name) && !exists(&name, paths) => {
                    failures.push(Error::no_such_guest(&name));
                    true
                }
                (state, Change::Down) => state == Awaited::Stopped,
            };
            if reached {
                left.retain(|other| *other != name);
            }
        }
    }
    conclude(failures, args.names.len())
}

/// Is the guest in the state already? That is asked for once, by whoever may be its own
/// script: what comes after that, it would wait for in vain.
///
/// # Errors
/// When it is that script.
fn is_there_or_never(name: &GuestName, state: Awaited, paths: &Paths) -> Result<bool> {
    // What can't be asked now is watched.
    let Ok(Some(client)) = Client::reach(paths, name) else { return Ok(false) };
    let Err(refused) = client.refuse_own_script() else { return Ok(false) };
    let phase = client.status().map(|status| status.phase);
    match (state, phase) {
        (Awaited::Running, Ok(Phase::Running)) => Ok(true),
        _ => Err(refused),
    }
}

fn exists(name: &GuestName, paths: &Paths) -> bool {
    !matches!(config::load(paths, name), Err(error) if error.kind() == Kind::NoSuchGuest)
}

fn late(name: &GuestName, state: Awaited) -> Error {
    let words = match state {
        Awaited::Running => "is not running",
        Awaited::Stopped => "has not stopped",
    };
    Error::new(format!("guest '{name}' {words} in time"))
}

/// One guest's failure is returned; of several, each is printed.
fn conclude(mut failures: Vec<Error>, guests: usize) -> Result<Exit> {
    if guests == 1
        && let Some(failure) = failures.pop()
    {
        return Err(failure);
    }
    failures.iter().for_each(output::complain);
    let worst = failures.iter().map(|failure| failure.kind().exit_code()).max();
    Ok(Exit(worst.unwrap_or(0)))
}
