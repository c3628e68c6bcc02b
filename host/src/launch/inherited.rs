//! What a process has of whoever started it besides limits, and a guest must
//! not have: another place in the queue for processors and disks, a share of
//! mercy when memory runs out, and an execution domain.
//!
//! A guest that the kernel's OOM killer spares would not be held by its limit
//! on memory, and one with real-time priority by none.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::sys::scheduling;

/// Makes a process an ordinary one, with the place in the queue that its nice
/// level gives it; `score` is what the OOM killer adds. What is so already isn't touched:
/// a guest that has a guest may change nothing of it.
///
/// # Errors
/// Those of sched_setscheduler(2), ioprio_set(2) and of writing
/// `/proc/PID/oom_score_adj`. That a process stays a more likely victim than
/// it should be (it takes CAP_SYS_RESOURCE to change that) is none.
pub fn make_ordinary(pid: i32, score: i32) -> io::Result<()> {
    if !scheduling::is_ordinary(pid)? {
        scheduling::be_ordinary(pid)?;
    }
    if !scheduling::has_no_disk_class(pid)? {
        scheduling::drop_disk_class(pid)?;
    }
    let had = score_of(pid)?;
    match fs::write(file(pid), score.to_string()) {
        Err(_) if had >= score => Ok(()),
        other => other,
    }
}

/// What the OOM killer adds for a supervisor and a keeper: whatever else could be
/// killed goes first. One less, and nothing could be where they are alone. The
/// `OOMScoreAdjust=` of the unit.
const SPARED: i32 = -999;

/// Has the OOM killer spare the calling process, and what it starts but for the
/// guest. Where that takes more privileges than there are it stays as it is.
pub fn be_spared() {
    let pid = std::process::id().cast_signed();
    if score_of(pid).is_ok_and(|score| score > SPARED) {
        let _ = fs::write(file(pid), SPARED.to_string());
    }
}

/// What the OOM killer adds for a process (proc_pid_oom_score_adj(5)).
///
/// # Errors
/// Those of reading the file; EBADMSG if it holds no number.
pub fn score_of(pid: i32) -> io::Result<i32> {
    let text = fs::read_to_string(file(pid))?;
    text.trim().parse().map_err(|_| io::Error::from_raw_os_error(libc::EBADMSG))
}

fn file(pid: i32) -> String {
    format!("/proc/{pid}/oom_score_adj")
}

/// Gives the calling process the plain execution domain: no option of
/// setarch(8) goes in.
///
/// # Errors
/// Those of personality(2).
pub fn leave_execution_domain() -> io::Result<()> {
    use nix::sys::personality::{Persona, set};
    set(Persona::empty()).map(drop).map_err(io::Error::from)
}

/// The processors that a process wishes for: all, unless it may use fewer than
/// `granted`, those that its cgroup grants (`cpuset.cpus.effective`). `None`
/// where the kernel has more than can be asked for here.
///
/// # Errors
/// Those of sched_getaffinity(2).
pub fn processors_of(pid: Pid, granted: &str) -> io::Result<Option<CpuSet>> {
    let used = match sched_getaffinity(Some(pid)) {
        Err(Errno::INVAL) => return Ok(None),
        other => other?,
    };
    // A wish for what the cgroup grants now would stay when that changes.
    let is_all = set_of(granted).is_some_and(|granted| granted == used);
    Ok(Some(if is_all { all() } else { used }))
}

/// Every processor that there could be.
fn all() -> CpuSet {
    let mut set = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|processor| set.set(processor));
    set
}

/// The processors of a list such as `0-3,7` (cpuset(7), "List format").
fn set_of(list: &str) -> Option<CpuSet> {
    let mut set = CpuSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if last >= CpuSet::MAX_CPU {
            return None;
        }
        (first..=last).for_each(|processor| set.set(processor));
    }
    Some(set)
}

/// Lets the calling process use these processors, if anything is known of
/// them. Where its cgroup has none of them, what that says stays.
///
/// # Errors
/// Those of sched_setaffinity(2).
pub fn use_processors(processors: Option<&CpuSet>) -> io::Result<()> {
    let Some(processors) = processors else { return Ok(()) };
    match sched_setaffinity(None, processors) {
        Err(Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        let set = set_of("0-2,5\n").expect("a list");
        let has: Vec<_> = (0..8).filter(|processor| set.is_set(*processor)).collect();
        assert_eq!(has, [0, 1, 2, 5]);
        for list in ["", "x", "1-", "0-1024"] {
            assert!(set_of(list).is_none(), "{list}");
        }
    }

    #[test]
    fn who_uses_all_that_is_granted_wishes_for_all() {
        let own = sched_getaffinity(None).expect("this machine's processors can be asked for");
        let list: Vec<_> = (0..CpuSet::MAX_CPU).filter(|n| own.is_set(*n)).collect();
        let list = list.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let pid = rustix::process::getpid();
        assert!(processors_of(pid, &list).expect("they are known") == Some(all()));
        assert!(processors_of(pid, "900-901").expect("they are known") == Some(own));
    }
}
