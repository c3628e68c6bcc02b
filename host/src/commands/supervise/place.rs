//! The place of a guest's supervisor, which one process has.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use shared::name::GuestName;

use crate::cgroup;
use crate::commands::lifecycle;
use crate::control::{Client, Request};
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::runtime::{Lock, Place, RunDir};
use crate::systemd::{self, Notifier};

/// How long a supervisor that is about to leave may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// So long another supervisor may take to leave: it may take the guest over
/// still, or boot it.
const LEAVES: Duration = Duration::from_secs(30);

/// So long one may take to listen that has its place; then it is asked again.
const LISTENS: Duration = Duration::from_millis(200);

/// Between two looks at a guest's files being at rest.
const LOOKS: Duration = Duration::from_millis(20);

/// systemd is told so often that a unit waits: it gives that some more time each
/// time.
const TOLD: Duration = Duration::from_secs(5);

/// So long whoever looks whether there is a supervisor may seem to be one.
const LOOKED_AT: Duration = Duration::from_millis(20);

/// Takes it. Whoever only wants to take over is content if somebody else does.
///
/// # Errors
/// When another supervisor has it.
pub(super) fn take(paths: &Paths, name: &GuestName, takes_over: bool) -> Result<Place> {
    let patience = if takes_over { LOOKED_AT } else { PATIENCE };
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
    // Of a stop that failed.
    let _ = fs::remove_file(RunDir::new(paths, name).stopping());
    take_unless(paths, name, || false)?.ok_or_else(|| is_taken(name))
}

/// Takes it for what looks after the guest of a unit that has failed, unless that
/// unit runs again.
///
/// # Errors
/// As [`take_from_others`].
pub(super) fn take_for_failed(paths: &Paths, name: &GuestName) -> Result<Option<Place>> {
    take_unless(paths, name, || {
        let pid = RunDir::new(paths, name).supervisor();
        // One may have stayed in a unit that has failed: nothing waits for that.
        let has_failed = || systemd::look(name).is_ok_and(|unit| unit.active == "failed");
        pid.is_some_and(|pid| cgroup::is_in_unit(pid, name)) && !has_failed()
    })
}

fn take_unless(
    paths: &Paths,
    name: &GuestName,
    has_better: impl Fn() -> bool,
) -> Result<Option<Place>> {
    let run = RunDir::new(paths, name);
    let deadline = Instant::now() + LEAVES;
    loop {
        let found = Client::reach(paths, name)?;
        // Whoever listens has the place: none that is better comes after this look.
        if has_better() {
            return Ok(None);
        }
        let left = match found {
            Some(client) => client.ask(&Request::Leave).map(drop),
            None => Ok(()),
        };
        let left = match left {
            // By itself.
            Err(error) if error.kind() == Kind::NotRunning => Ok(()),
            other => other,
        };
        if let Some(place) = run.supervise(LISTENS)? {
            return Ok(Some(place));
        }
        if Instant::now() > deadline {
            return Err(left.err().unwrap_or_else(|| is_taken(name)));
        }
    }
}

/// Waits while a command is at work with the files of a guest that is down
/// ([`at_rest::keep`]), as other commands do.
///
/// # Errors
/// When it is being moved to another host, which is about to start it.
///
/// [`at_rest::keep`]: crate::control::at_rest::keep
pub(super) fn wait_for_rest(paths: &Paths, name: &GuestName) -> Result<()> {
    let lock = paths.rest_lock(name);
    let notifier = Notifier::from_environment();
    let mut told: Option<Instant> = None;
    loop {
        lifecycle::refuse_moving(paths, name)?;
        if !Lock::is_held(&lock) {
            // Once more: what moves it has signed that before it has let go of this.
            return lifecycle::refuse_moving(paths, name);
        }
        if told.is_none() {
            tracing::info!("a command is at work with the guest's files; waiting for its end");
        }
        if told.is_none_or(|at| at.elapsed() > TOLD) {
            told = Some(Instant::now());
            notifier.waiting("waiting for a command that is at work with the guest's files");
        }
        thread::sleep(LOOKS);
    }
}

fn is_taken(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' has a supervisor already"))
}
