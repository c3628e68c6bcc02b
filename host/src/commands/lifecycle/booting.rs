//! Waiting for a guest that boots: whoever is its supervisor meanwhile.

use std::time::Instant;

use shared::message::Power;
use shared::name::GuestName;

use crate::cli::Shutdown;
use crate::commands::output;
use crate::commands::progress::Progress;
use crate::config;
use crate::control::{BootPatience, Client, Event, Limit, Phase, Request, Snapshot, start_failed};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::plan;
use crate::systemd;

use super::unkillable;

/// What has become of a boot that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// It is as far as it should be.
    Reached,
    /// Its supervisor was killed before there was anything of it that the next one could
    /// find.
    NotBegun,
}

/// Waits until PID 1 runs, or the start has failed.
pub(super) fn begun(paths: &Paths, client: Client, name: &GuestName) -> Result<Awaited> {
    let is_begun = |phase| phase != Phase::Starting;
    wait_for(paths, client, name, is_begun, Limit::None, &mut Progress::silent())
}

/// Waits until the guest has reached its runlevel, showing its scripts, or it takes
/// longer than that.
pub(super) fn until_up(
    paths: &Paths,
    client: Client,
    name: &GuestName,
    limit: Limit,
) -> Result<Awaited> {
    let reached = |phase| matches!(phase, Phase::Running | Phase::Session);
    wait_for(paths, client, name, reached, limit, &mut Progress::of_boot(name))
}

fn wait_for(
    paths: &Paths,
    mut client: Client,
    name: &GuestName,
    reached: impl Fn(Phase) -> bool,
    limit: Limit,
    progress: &mut Progress,
) -> Result<Awaited> {
    let mut patience = limit.from(Instant::now());
    let mut failure = None;
    let mut is_begun = false;
    loop {
        let told = next(&client, name, patience.as_mut())?;
        is_begun |= matches!(told, Some(Event::Phase(phase)) if phase != Phase::Starting);
        match told {
            // Has the guest ended, or only its supervisor?
            None if failure.is_none() => match successor(paths, name)? {
                Some((_, status)) if status.phase == Phase::BackingOff => {
                    return Err(crashed(name));
                }
                Some((next, _)) => {
                    next.send(&Request::Subscribe)?;
                    client = next;
                    is_begun = true;
                }
                None if !is_begun => return Ok(Awaited::NotBegun),
                None => return Err(ended(name)),
            },
            Some(Event::Phase(Phase::Stopped)) | None => {
                return Err(failure.unwrap_or_else(|| ended(name)));
            }
            Some(Event::Failed { text, hint }) => failure = Some(start_failed(text, hint)),
            // A guest that crashes in every boot would be waited for for ever.
            Some(Event::Phase(Phase::BackingOff)) => {
                return Err(failure.unwrap_or_else(|| crashed(name)));
            }
            Some(Event::Phase(phase)) if reached(phase) => return Ok(Awaited::Reached),
            Some(Event::Status(status)) if reached(status.phase) => return Ok(Awaited::Reached),
            Some(event) => progress.show(&event),
        }
    }
}

/// What the supervisor says next, which may be its end.
fn next(
    client: &Client,
    name: &GuestName,
    patience: Option<&mut BootPatience>,
) -> Result<Option<Event>> {
    let Some(patience) = patience else { return client.next(None) };
    let until = patience.until();
    // Also if it says one thing after the other.
    if until.is_some_and(|until| until <= Instant::now()) {
        return Err(still_booting(name));
    }
    match client.next(until) {
        Err(error) if error.errno() == Some(libc::ETIMEDOUT) => Err(still_booting(name)),
        other => {
            patience.hear(Instant::now());
            other
        }
    }
}

fn still_booting(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' is still booting, and not waited for any longer"))
        .hint(format!("see what it does: vserver logs {name}; or end it: vserver stop {name}"))
}

fn ended(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' ended before it was up"))
        .hint(format!("its console may say why: vserver logs {name}"))
}

fn crashed(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' crashed before it was up"))
        .hint(format!("it is started again later; see: vserver logs {name}"))
}

/// The next supervisor of a guest that goes on, when one has ended that has said
/// nothing of its guest's end: an upgrade replaces it, or somebody has killed it.
///
/// # Errors
/// As [`Client::find`].
pub fn successor(paths: &Paths, name: &GuestName) -> Result<Option<(Client, Snapshot)>> {
    let found = Client::find(paths, name)?;
    Ok(found.filter(|(_, status)| status.phase != Phase::Stopped))
}

/// Reboots a guest in place and waits until it is up again.
///
/// # Errors
/// As [`super::start`] and [`super::stop`]; also when the guest doesn't run.
pub fn reboot(paths: &Paths, name: &GuestName, how: &Shutdown, no_wait: bool) -> Result<()> {
    let Some((mut client, before)) = Client::find(paths, name)? else {
        config::load(paths, name)?;
        return Err(Error::not_running(name));
    };
    if systemd::starts_guests(paths)
        && let Ok(config) = config::load(paths, name)
    {
        systemd::tell_shares(name, &config.limits)?;
    }
    let timeout_ms = how.timeout.map(plan::milliseconds);
    let order = Request::Stop { power: Power::Reboot, timeout_ms, no_kill: how.no_kill };
    client.send(&order)?;
    let mut progress = Progress::of_boot(name);
    loop {
        match client.next(None)? {
            None => {
                let next = successor(paths, name)?.ok_or_else(|| not_up_again(name))?;
                let is_same = next.1.keeper_pid == before.keeper_pid && before.keeper_pid > 0;
                client = next.0;
                if is_same {
                    // It may not have heard of it.
                    client.send(&order)?;
                } else {
                    client.send(&Request::Subscribe)?;
                    break;
                }
            }
            Some(Event::Phase(Phase::Stopped)) => return Err(not_up_again(name)),
            Some(Event::Failed { text, hint }) => return Err(start_failed(text, hint)),
            Some(Event::StopTimedOut) => {
                return Err(Error::new(format!("guest '{name}' has not shut down in time")));
            }
            Some(Event::Killed) => {
                output::warn(format_args!("guest '{name}' had to be killed"));
            }
            Some(Event::Unkillable(left)) => return Err(unkillable(name, &left)),
            Some(Event::Phase(Phase::Booting)) => break,
            Some(event) => progress.show(&event),
        }
    }
    match no_wait {
        true => Ok(()),
        false => match until_up(paths, client, name, Limit::None)? {
            Awaited::Reached => Ok(()),
            Awaited::NotBegun => Err(not_up_again(name)),
        },
    }
}

fn not_up_again(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' did not come up again"))
}
