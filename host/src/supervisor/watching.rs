//! How the guest is, for whoever asks or watches.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::accounting;
use crate::control::{Event as Told, Phase, Snapshot};

use super::keeper::Keeper;
use super::{Supervisor, now_ms};

/// So many changes are remembered: those of a start that is quicker than its
/// watchers, and of a boot or two.
const REMEMBERED: usize = 16;

impl Supervisor {
    /// Tells those that watch how the guest is in this phase. The machine may
    /// be in the next one.
    pub(super) fn tell_change(&mut self, phase: Phase) {
        let status = Snapshot { phase, boot: self.boot(phase), ..self.snapshot() };
        if self.changes.len() >= REMEMBERED {
            self.changes.pop_front();
        }
        self.changes.push_back(status.clone());
        self.clients.tell_watchers(&Told::Status(Box::new(status)));
    }

    /// Tells a client what has changed since then, how the guest is, and all
    /// changes from now on.
    pub(super) fn watch(&mut self, client: u64, since_ms: u64) {
        let new = self.changes.iter().filter(|change| change.clock_ms > since_ms);
        for change in new.cloned().chain([self.snapshot()]) {
            self.clients.answer(client, &Told::Status(Box::new(change)));
        }
        self.clients.watch_changes(client);
    }

    /// How the guest is now.
    pub(super) fn snapshot(&self) -> Snapshot {
        let phase = self.machine.phase();
        Snapshot {
            at_ms: wall_ms(),
            clock_ms: now_ms(),
            phase,
            context: self.plan.context.get(),
            style: self.guest.style,
            reason: self.guest.reason.clone(),
            runlevel: self.guest.runlevel,
            init_pid: self.keeper.as_ref().map_or(0, Keeper::init_pid),
            keeper_pid: self.keeper.as_ref().map_or(0, Keeper::pid),
            supervisor_pid: std::process::id() as i32,
            uptime_ms: now_ms().saturating_sub(self.state.booted_at_ms),
            boot: self.boot(phase),
            crashes: self.machine.crashes(),
            last_end: self.state.last_end.clone(),
            users: self.plan.ids.name().to_owned(),
            addresses: self.state.addresses.clone(),
            processes: u32::try_from(self.cgroup.count(self.state.boot)).unwrap_or(u32::MAX),
            paused: self.cgroup.is_to_freeze(self.state.boot),
            frozen: self.cgroup.is_frozen(self.state.boot),
            kills: accounting::usage(&self.cgroup.limited(self.state.boot)).kills,
        }
    }
}

/// The clock on the wall, in milliseconds since 1970.
fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}
