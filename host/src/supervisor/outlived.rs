//! The administrator's script where it has outlived the supervisor by which it was
//! called: it has what is left of its minute, and no other is run beside it.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::accounting;
use crate::membership;
use crate::plan::milliseconds;
use crate::runtime::{Script, State, now_ms};
use crate::sys;

use super::Supervisor;
use super::actions::{Action, PATIENCE};
use super::dying::BURIAL;

/// One that has just been started.
pub fn begun(action: Action, child: &Child) -> Option<Script> {
    let pid = i32::try_from(child.id()).ok()?;
    let until_ms = now_ms().saturating_add(milliseconds(PATIENCE).into());
    Some(Script { action: action.name().to_owned(), pid, started_ms: started_ms(pid)?, until_ms })
}

fn started_ms(pid: i32) -> Option<u64> {
    u64::try_from(accounting::started(pid)?.as_millis()).ok()
}

/// Its process, if that hasn't ended.
fn find(script: &Script) -> Option<OwnedFd> {
    let process = membership::open(script.pid).ok()?;
    // If it is the one that was noted, the descriptor refers to it.
    let is_it = started_ms(script.pid) == Some(script.started_ms);
    (is_it && !sys::has_ended(&process)).then_some(process)
}

/// How long it may still take.
fn left(script: &Script) -> Option<Duration> {
    let left = script.until_ms.checked_sub(now_ms()).filter(|left| *left > 0)?;
    Some(Duration::from_millis(left).min(PATIENCE))
}

fn timeout(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
}

/// Kills one that hasn't ended in its time.
fn end(script: &Script, process: &OwnedFd) {
    if sys::has_ended(process) {
        return;
    }
    let (action, seconds) = (&script.action, PATIENCE.as_secs());
    tracing::warn!("'{action}', begun by another supervisor, took longer than {seconds} s");
    let group = Pid::from_raw(script.pid);
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let _ = poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout(BURIAL));
}

/// Waits for the end of the one that a supervisor has left which is gone with its guest.
pub fn wait_for_last(state: &State) {
    let Some(script) = &state.script else { return };
    let Some(process) = find(script) else { return };
    while let Some(left) = left(script).filter(|_| !sys::has_ended(&process)) {
        let _ = poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout(left));
    }
    end(script, &process);
}

impl Supervisor {
    pub(super) fn note_script(&mut self, script: Option<Script>) {
        if self.state.script != script {
            self.state.script = script;
            self.note_state();
        }
    }

    /// Waits for the end of the one that a supervisor before has left at work, if any, and
    /// answers meanwhile what may come from it. What that was called for.
    pub(super) fn outwait_script(&mut self) -> Option<String> {
        let script = self.state.script.clone()?;
        let found = find(&script);
        if let Some(process) = &found {
            tracing::info!("'{}', begun by another supervisor, is waited for", script.action);
            while let Some(left) = left(&script).filter(|_| !sys::has_ended(process)) {
                let mut fds = vec![PollFd::new(process.as_fd(), PollFlags::POLLIN)];
                self.clients.watch(&mut fds);
                let _ = poll(&mut fds, timeout(left));
                self.hear_meanwhile();
            }
            end(&script, process);
            self.arm_watchdog();
        }
        self.note_script(None);
        found.map(|_| script.action)
    }

    /// Kills it when its time is over and nobody waits for it.
    pub(super) fn end_overdue_script(&mut self) {
        if self.state.script.as_ref().is_some_and(|script| left(script).is_none()) {
            let _ = self.outwait_script();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_has_outlived_its_supervisor_has_the_rest_of_its_time_and_no_other_is_killed() {
        let sleeper = || Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let (mut late, mut other) = (sleeper(), sleeper());
        let script = |child: &Child| begun(Action::PostStop, child).unwrap();
        assert!(left(&script(&late)).is_some_and(|left| left > PATIENCE / 2));
        let with = |script| State { script: Some(script), ..State::default() };
        let late_by_now = Script { until_ms: now_ms(), ..script(&late) };
        // Its pid was another's once.
        let another = Script { started_ms: 1, until_ms: now_ms(), ..script(&other) };
        wait_for_last(&with(late_by_now));
        wait_for_last(&with(another));
        assert!(late.try_wait().unwrap().is_some() && other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
