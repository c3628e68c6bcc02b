//! Is a guest at rest, so that its files can be moved, copied or removed?

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use shared::name::GuestName;

use super::{Client, Phase, Snapshot};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runtime::{Lock, RunDir};
use crate::tree::Check;

/// How long a supervisor may take to clean up after its guest.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// How long that may take with the administrator's script, which has a minute and a
/// moment to be killed.
const LAST_ACTION: Duration = Duration::from_secs(75);

/// How long the end of a stopped guest's last session is waited for.
const LAST_SESSION: Duration = Duration::from_secs(1);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two looks while a script is at work.
const SCRIPT_PAUSE: Duration = Duration::from_millis(100);

/// So long a lock is left to a supervisor that waits for it: longer than the time
/// between two of its looks.
pub const GIVES_WAY: Duration = Duration::from_millis(100);

/// Keeps a guest at rest: as long as this is there, a supervisor that is to boot it
/// waits, whoever has started that. Commands hold the guest's own lock as well, and
/// before: with that they wait for each other, and systemd knows nothing of it.
#[derive(Debug)]
pub struct AtRest {
    path: PathBuf,
    _lock: Lock,
}

impl Drop for AtRest {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Finds it at rest, and keeps it so.
///
/// # Errors
/// As [`check`], and when its lock can't be made.
pub fn keep(paths: &Paths, name: &GuestName) -> Result<AtRest> {
    keep_unless(paths, name, &|| Ok(()))
}

/// The same, for a command that doesn't end by a signal. `ends` is asked while there is
/// something to wait for.
///
/// # Errors
/// As [`keep`], and what `ends` says.
pub fn keep_unless(paths: &Paths, name: &GuestName, ends: Check<'_>) -> Result<AtRest> {
    let run = RunDir::new(paths, name);
    let start = Instant::now();
    loop {
        let path = paths.rest_lock(name);
        let lock = Lock::wait(&path)?;
        lock.sign();
        let kept = AtRest { path, _lock: lock };
        check_unless(paths, name, ends)?;
        // A supervisor takes its place, and then looks for this lock: either it sees
        // that, or is seen here. One that leaves is out of its place soon.
        if !run.has_supervisor() {
            return Ok(kept);
        }
        if start.elapsed() >= CLEAN_UP {
            return Err(Error::new(format!("guest '{name}' is being started"))
                .hint(format!("'vserver stop {name}' first")));
        }
        // One that waits for this very lock was first, and boots.
        drop(kept);
        ends()?;
        thread::sleep(GIVES_WAY);
    }
}

/// # Errors
/// When the guest runs or has open sessions. What has just ended is waited for
/// while its supervisor cleans up.
pub fn check(paths: &Paths, name: &GuestName) -> Result<()> {
    check_unless(paths, name, &|| Ok(()))
}

/// The same, for a command that doesn't end by a signal. `ends` is asked while there is
/// something to wait for.
///
/// # Errors
/// As [`check`], and what `ends` says.
pub fn check_unless(paths: &Paths, name: &GuestName, ends: Check<'_>) -> Result<()> {
    let start = Instant::now();
    while let Some(client) = Client::connect(paths, name)? {
        let phase = client.status().ok().map(|status| seen(&status));
        let until = start + patience(phase);
        if Instant::now() >= until {
            let state =
                if phase == Some(Phase::Session) { "has open sessions" } else { "is running" };
            return Err(Error::new(format!("guest '{name}' {state}"))
                .hint(format!("'vserver stop {name}' first")));
        }
        ends()?;
        if phase == Some(Phase::Stopped) {
            client.refuse_own_script()?;
            // The end of the connection is its supervisor's; whatever else is said is asked
            // for again.
            let _ = client.next(Some(until.min(Instant::now() + SCRIPT_PAUSE)));
        } else {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// The phase that counts: a bare context is one of sessions also on its way up.
fn seen(status: &Snapshot) -> Phase {
    match status.phase {
        Phase::Stopping => Phase::Stopping,
        _ => status.shown_phase(),
    }
}

/// How long a guest is waited for in this phase; `None` if its supervisor doesn't tell.
fn patience(phase: Option<Phase>) -> Duration {
    match phase {
        Some(Phase::Stopped) => LAST_ACTION,
        Some(Phase::Stopping) | None => CLEAN_UP,
        Some(Phase::Session) => LAST_SESSION,
        Some(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_script_of_a_guest_is_waited_for_and_no_running_one() {
        assert!(patience(Some(Phase::Stopped)) > Duration::from_secs(60 + 5));
        assert!(patience(Some(Phase::Stopping)) < Duration::from_secs(60));
        for up in [Phase::Starting, Phase::Booting, Phase::Running, Phase::Rebooting] {
            assert!(patience(Some(up)).is_zero(), "{up}");
        }
    }
}
