//! The place of a guest's supervisor, which one process has.

use std::fs;
use std::time::{Duration, Instant};

use shared::name::GuestName;

use crate::control::{Client, Request};
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::runtime::{Place, RunDir};

/// How long a supervisor that is about to leave may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// So long another supervisor may take to leave: it may take the guest over
/// still, or boot it.
const LEAVES: Duration = Duration::from_secs(30);

/// So long one may take to listen that has its place; then it is asked again.
const LISTENS: Duration = Duration::from_millis(200);

/// Takes it. Whoever only wants to take over is content if somebody else does.
///
/// # Errors
/// When another supervisor has it.
pub(super) fn take(paths: &Paths, name: &GuestName, takes_over: bool) -> Result<Place> {
    let patience = if takes_over { Duration::ZERO } else { PATIENCE };
    RunDir::new(paths, name).supervise(patience)?.ok_or_else(|| is_taken(name))
}

/// Takes it for a unit. A guest that was started before its unit, or whose
/// unit had failed, has one elsewhere: that leaves it to this one. Some command may
/// have started another just now, as none was there; it is asked as soon as it
/// listens.
///
/// # Errors
/// When the other one can't leave.
pub(super) fn take_from_others(paths: &Paths, name: &GuestName) -> Result<Place> {
    let run = RunDir::new(paths, name);
    // Of a stop that failed.
    let _ = fs::remove_file(run.stopping());
    let deadline = Instant::now() + LEAVES;
    loop {
        let left = match Client::reach(paths, name)? {
            Some(client) => client.ask(&Request::Leave).map(drop),
            None => Ok(()),
        };
        let left = match left {
            // By itself.
            Err(error) if error.kind() == Kind::NotRunning => Ok(()),
            other => other,
        };
        if let Some(place) = run.supervise(LISTENS)? {
            return Ok(place);
        }
        if Instant::now() > deadline {
            return Err(left.err().unwrap_or_else(|| is_taken(name)));
        }
    }
}

fn is_taken(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' has a supervisor already"))
}
