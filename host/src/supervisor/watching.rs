//! How the guest is, for whoever asks or watches.

use std::time::{SystemTime, UNIX_EPOCH};

use shared::message::{BootMode, Style};

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
        let status = self.snapshot_in(phase);
        if self.changes.len() >= REMEMBERED {
            self.changes.pop_front();
        }
        self.changes.push_back(status.clone());
        self.clients.tell_watchers(&Told::Status(Box::new(status)));
    }

    /// Tells a client what has changed since then, how the guest is, and all
    /// changes from now on. While the administrator's script runs, the next one of
    /// them is still to come.
    pub(super) fn watch(&mut self, client: u64, since_ms: u64) {
        let new = self.changes.iter().filter(|change| change.clock_ms > since_ms);
        for change in new.cloned().chain([self.snapshot_in(self.told)]) {
            self.clients.answer(client, &Told::Status(Box::new(change)));
        }
        self.clients.watch_changes(client);
    }

    /// How the guest is now.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshot_in(now(self.machine.phase(), self.told))
    }

    fn snapshot_in(&self, phase: Phase) -> Snapshot {
        let is_bare = self.plan.boot.mode == BootMode::Idle;
        Snapshot {
            at_ms: wall_ms(),
            clock_ms: now_ms(),
            phase,
            context: self.plan.context.get(),
            // A bare context is one before its PID 1 has said so.
            style: self.guest.style.or_else(|| is_bare.then_some(Style::Idle)),
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

/// Where a guest is whose next phase isn't told yet: down, before it is started again.
fn now(next: Phase, told: Phase) -> Phase {
    match next {
        Phase::Starting if told != Phase::Starting => Phase::Rebooting,
        phase => phase,
    }
}

/// The clock on the wall, in milliseconds since 1970.
fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_starts_before_it_is_told() {
        for told in [Phase::Stopping, Phase::Running, Phase::Rebooting] {
            assert_eq!(now(Phase::Starting, told), Phase::Rebooting);
        }
        assert_eq!(now(Phase::Starting, Phase::Starting), Phase::Starting);
        // A crash is seen at once, and so is the end.
        for next in [Phase::BackingOff, Phase::Stopped] {
            assert_eq!(now(next, Phase::Running), next);
        }
    }
}
