//! What is left of a guest that was killed: processes that wait in the kernel, or
//! for whoever traces them.

use std::fs;

use crate::cgroup;
use crate::control::{Event as Told, Left};
use crate::journal::Kind;

use super::Supervisor;
use super::keeper::Keeper;

/// So many are looked at, and so many named.
const LOOKED_AT: usize = 1000;
const NAMED: usize = 4;

impl Supervisor {
    /// Tells what hasn't ended although it was killed, and kills what there is by
    /// now.
    pub(super) fn kill_again(&mut self) {
        let left = self.left();
        let words: Vec<_> = left.iter().map(Left::to_string).collect();
        let text = format!("the guest was killed and has not ended: {}", words.join(", "));
        self.say(Kind::Unkillable, &text);
        self.clients.tell(&Told::Unkillable(left));
        if let Err(error) = self.cgroup.kill(self.state.boot) {
            tracing::error!("cannot kill the guest's processes: {error}");
        }
    }

    /// Processes that hold up the end of the others first.
    fn left(&self) -> Vec<Left> {
        let pids = cgroup::ids(&self.cgroup.limited(self.state.boot), "cgroup.procs");
        // One that is dead already may wait for its tracer, and is in no cgroup.
        let init = self.keeper.as_ref().map(Keeper::init_pid).filter(|pid| !pids.contains(pid));
        let all = init.into_iter().chain(pids).take(LOOKED_AT);
        let mut left: Vec<_> = all.filter_map(look).collect();
        left.sort_by_key(|process| !(process.tracer > 0 || process.state == 'D'));
        left.truncate(NAMED);
        left
    }
}

/// Reads nothing that waits for the process itself.
fn look(pid: i32) -> Option<Left> {
    read(pid, &fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Reads `/proc/PID/status` (proc(5)).
fn read(pid: i32, status: &str) -> Option<Left> {
    let value = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let state = value("State")?.chars().next()?;
    let tracer = value("TracerPid").and_then(|pid| pid.parse().ok()).unwrap_or(0);
    Some(Left { pid, state, tracer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_says_what_it_waits_for() {
        let status = "Name:\tState: x\nState:\tD (disk sleep)\nTracerPid:\t0\n";
        assert_eq!(read(7, status), Some(Left { pid: 7, state: 'D', tracer: 0 }));
        let left = read(8, "State:\tt (tracing stop)\nTracerPid:\t99\n");
        assert_eq!(left.map(|left| left.to_string()), Some("8 (state t, traced by 99)".to_owned()));
        assert_eq!(read(9, ""), None);
    }
}
