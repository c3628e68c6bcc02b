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

/// The processors that a process may use.
///
/// # Errors
/// Those of sched_getaffinity(2).
pub fn processors_of(pid: Pid) -> io::Result<CpuSet> {
    Ok(sched_getaffinity(Some(pid))?)
}

/// Lets the calling process use these processors. Where its cgroup has none of
/// them, what that says stays.
///
/// # Errors
/// Those of sched_setaffinity(2).
pub fn use_processors(processors: &CpuSet) -> io::Result<()> {
    match sched_setaffinity(None, processors) {
        Err(Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}
