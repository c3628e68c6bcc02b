//! How guests are: from configuration and supervisor to one report.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use shared::name::GuestName;

use crate::config::{self, GuestConfig, StorageKind};
use crate::control::{Client, Phase};
use crate::error::Result;
use crate::ids;
use crate::paths::Paths;
use crate::report::GuestStatus;
use crate::runtime::{RunDir, State};
use crate::storage::{self, Scratch};

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
        ..GuestStatus::stopped(name.clone(), config.context, config.description)
    };
    let config = config::load(paths, name);
    let Some((_, status)) = Client::find(paths, name)? else { return Ok(stopped(config?)) };
    // One that runs is shown whatever has become of its configuration.
    let config = config.unwrap_or_default();
    let stopped = GuestStatus {
        ephemeral: Scratch::new(name, &config.root(paths, name)).is_used(),
        context: status.context.try_into().ok(),
        ..stopped(config)
    };
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
    let next = AtomicUsize::new(0);
    let work = || {
        let mut told = Vec::new();
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            told.push((name.clone(), ask(name)));
        }
        told
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..names.len().min(AT_A_TIME)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    all.sort_by_key(|(name, _)| names.iter().position(|other| other == name));
    all
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
