//! Stopping one guest, to its end or until that can't be had.

use shared::message::Power;
use shared::name::GuestName;

use crate::cli::Shutdown;
use crate::commands::output;
use crate::commands::progress::Progress;
use crate::config;
use crate::control::{Client, Event, Left, Phase, Request, at_rest};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::plan;
use crate::runtime::{Lock, RunDir};
use crate::supervisor;
use crate::systemd;

use super::ARRIVAL;

/// Stops or reboots a guest; a stopped one is left alone. Returns whether it
/// ran.
///
/// # Errors
/// When it has not ended at the timeout and must not be killed, or can't be.
pub fn stop(paths: &Paths, name: &GuestName, power: Power, how: &Shutdown) -> Result<bool> {
    let ran = shut_down(paths, name, power, how)?;
    if ran && systemd::starts_guests(paths) {
        systemd::settle(name, ARRIVAL);
    }
    Ok(ran)
}

/// Calls off the start of a guest that isn't there yet: its unit waits for other
/// units, or its supervisor for a command that is at work with its files. Returns
/// whether there was one.
///
/// # Errors
/// What systemctl(1) says.
pub fn call_off(paths: &Paths, name: &GuestName) -> Result<bool> {
    if !systemd::starts_guests(paths) {
        return Ok(false);
    }
    let is_coming = systemd::look(name)?.active == "activating" || systemd::is_to_start(name);
    if is_coming {
        systemd::stop(name)?;
    }
    Ok(is_coming)
}

/// Removes what is left of a guest that was killed with its keeper and its supervisor,
/// unless somebody is at work with it.
///
/// # Errors
/// What can't be removed.
pub fn clear_after(paths: &Paths, name: &GuestName) -> Result<()> {
    if !RunDir::new(paths, name).state().exists() {
        return Ok(());
    }
    let path = paths.lock(name);
    let Some(_lock) = Lock::try_now(&path)?.filter(|lock| lock.is_at(&path)) else {
        return Ok(());
    };
    // One that is being started has that done.
    let Ok(_at_rest) = at_rest::keep(paths, name) else { return Ok(()) };
    supervisor::clear_after(paths, name)
}

/// What the unit's own `ExecStop=` does, for which systemd waits.
///
/// # Errors
/// As [`stop`].
pub fn shut_down(paths: &Paths, name: &GuestName, power: Power, how: &Shutdown) -> Result<bool> {
    let Some((mut client, before)) = Client::find(paths, name)? else {
        // An unknown guest is an error, also for stop; mistakes in the
        // configuration of one are none.
        config::text(paths, name)?;
        return Ok(false);
    };
    let timeout_ms = how.timeout.map(plan::milliseconds);
    let order = Request::Stop { power, timeout_ms, no_kill: how.no_kill };
    client.send(&order)?;
    let mut progress = Progress::of_shutdown(name);
    loop {
        match client.next(None)? {
            // The guest has ended, or only its supervisor.
            None => match still_there(paths, name, before.keeper_pid)? {
                Some(successor) => {
                    client = successor;
                    client.send(&order)?;
                }
                None => return Ok(true),
            },
            Some(Event::StopTimedOut) => {
                return Err(Error::new(format!("guest '{name}' has not shut down in time"))
                    .hint(format!("it goes on shutting down; without --no-kill it is killed: vserver stop {name}")));
            }
            Some(Event::Killed) => {
                output::warn(format_args!("guest '{name}' had to be killed"));
            }
            Some(Event::Unkillable(left)) => return Err(unkillable(name, &left)),
            Some(Event::Phase(Phase::Starting | Phase::Rebooting)) if power == Power::Reboot => {
                return Ok(true);
            }
            Some(event) => progress.show(&event),
        }
    }
}

/// A connection to the same boot of a guest as before, if that still runs: no
/// two keepers that live at the same time have the same pid. A guest that is about to
/// be started again isn't down either.
fn still_there(paths: &Paths, name: &GuestName, keeper_pid: i32) -> Result<Option<Client>> {
    let Some((client, status)) = Client::find(paths, name)? else { return Ok(None) };
    let is_same = keeper_pid > 0 && status.keeper_pid == keeper_pid;
    let comes_up = matches!(status.phase, Phase::BackingOff | Phase::Rebooting);
    Ok((is_same || comes_up).then_some(client))
}

/// What was killed is there still, and nobody knows for how long: that isn't waited
/// for.
pub fn unkillable(name: &GuestName, left: &[Left]) -> Error {
    let words: Vec<_> = left.iter().map(Left::to_string).collect();
    let text = match &*words {
        [] => format!("guest '{name}' was killed and has not ended"),
        words => {
            let words = words.join(", ");
            format!("guest '{name}' was killed and has not ended: process {words} is left")
        }
    };
    let tracer = left.iter().map(|process| process.tracer).find(|tracer| *tracer > 0);
    Error::new(text).hint(match tracer {
        Some(tracer) => format!("it is down when nobody traces it any more: kill {tracer}"),
        None => "it is down when the disk or the other machine answers that it waits for, or is \
                 given up (umount -f); see /proc/PID/stack"
            .to_owned(),
    })
}
