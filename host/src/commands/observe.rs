//! How guests are: from configuration and supervisor to one report.

use std::time::Duration;

use shared::name::GuestName;

use super::abreast::abreast;
use crate::config::{self, GuestConfig, StorageKind};
use crate::control::{Client, Phase};
use crate::error::{Kind, Result};
use crate::ids;
use crate::paths::Paths;
use crate::report::GuestStatus;
use crate::runtime::{RunDir, State};
use crate::storage::{self, Scratch};
use crate::systemd;

/// So many guests are asked at a time.
const AT_A_TIME: usize = 16;

/// How a guest is now.
///
/// # Errors
/// When there is no such guest, or its supervisor can't be asked.
pub fn guest(paths: &Paths, name: &GuestName) -> Result<GuestStatus> {
    let stopped = |config: GuestConfig| GuestStatus {
        addresses: config.network.addresses.iter().map(ToString::to_string).collect(),
        storage: config.storage.kind,
        disk: disk(paths, name, &config),
        ephemeral: false,
        marks: config.marks,
        autostart: Some(config.autostart),
        ..GuestStatus::stopped(name.clone(), config.context, config.description)
    };
    let config = config::load(paths, name);
    let autostart = match &config {
        Ok(config) => Some(config.autostart),
        Err(error) => (error.kind() == Kind::NoSuchGuest).then_some(false),
    };
    let Some((_, status)) = Client::find(paths, name)? else { return Ok(stopped(config?)) };
    // One that runs is shown whatever has become of its configuration.
    let config = config.unwrap_or_default();
    let ephemeral = Scratch::new(name, &config.root(paths, name)).is_used();
    let stopped = stopped(config);
    let stopped =
        GuestStatus { ephemeral, context: status.context.try_into().ok(), autostart, ..stopped };
    let alive = status.init_pid > 0;
    Ok(GuestStatus {
        state: status.shown_phase(),
        style: status.style.map(|style| (style.name().to_owned(), status.reason)),
        runlevel: status.runlevel.map(|level| level.as_char()),
        init_pid: alive.then_some(status.init_pid),
        keeper_pid: (status.keeper_pid > 0).then_some(status.keeper_pid),
        supervisor_pid: Some(status.supervisor_pid),
        uptime: (alive && status.phase != Phase::BackingOff)
            .then(|| Duration::from_millis(status.uptime_ms)),
        processes: Some(status.processes.into()),
        users: Some(status.users),
        addresses: status.addresses.iter().map(ToString::to_string).collect(),
        restarts: status.crashes,
        last_end: status.last_end,
        kills: status.kills,
        faults: State::read(&RunDir::new(paths, name).state()).faults,
        ..stopped
    })
}

/// How several guests are, in their order. They are asked side by side: one whose supervisor
/// doesn't answer keeps the others back no longer than that takes.
pub fn guests(paths: &Paths, names: &[GuestName]) -> Vec<(GuestName, Result<GuestStatus>)> {
    side_by_side(names, |name| guest(paths, name))
}

/// Asks of all guests the same, some at a time.
pub fn side_by_side<T: Send>(
    names: &[GuestName],
    ask: impl Fn(&GuestName) -> T + Sync,
) -> Vec<(GuestName, T)> {
    let told = abreast(names, AT_A_TIME, ask);
    names.iter().cloned().zip(told).filter_map(|(name, told)| Some((name, told?))).collect()
}

/// Adds which guests start with the host because systemd itself was told so.
pub fn add_links(paths: &Paths, guests: &mut [GuestStatus]) {
    if systemd::starts_guests(paths) {
        let others = guests.iter_mut().filter(|guest| guest.autostart != Some(true));
        for guest in others.filter(|guest| systemd::is_enabled(&guest.name)) {
            guest.autostart = Some(true);
        }
    }
}

/// What its files take on the disk, and may take.
fn disk(paths: &Paths, name: &GuestName, config: &GuestConfig) -> Option<(u64, u64)> {
    if config.limits.disk.is_none() && config.storage.kind != StorageKind::Image {
        return None;
    }
    let project = ids::lookup(paths, name).ok()??.base;
    let quota = storage::limited(&config.place(paths, name), project)?;
    (quota.limit > 0).then_some((quota.used, quota.limit))
}
