//! How the kernel schedules a process: what neither nix nor rustix wraps of
//! sched(7) and ioprio_set(2).

use std::io;

use super::check;

/// `IOPRIO_WHO_PROCESS` (ioprio_set(2)).
const ONE_PROCESS: libc::c_int = 1;

/// Has the process the ordinary policy, whatever its nice level? 0 is the
/// caller.
///
/// # Errors
/// Those of sched_getscheduler(2).
pub fn is_ordinary(pid: i32) -> io::Result<bool> {
    // SAFETY: takes a number only.
    let policy = check(unsafe { libc::sched_getscheduler(pid) }.into())?;
    Ok(policy == i64::from(libc::SCHED_OTHER))
}

/// Gives the process the ordinary policy; its nice level stays.
///
/// # Errors
/// Those of sched_setscheduler(2).
pub fn be_ordinary(pid: i32) -> io::Result<()> {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: `none` lives through the call, which reads it only.
    check(unsafe { libc::sched_setscheduler(pid, libc::SCHED_OTHER, &none) }.into()).map(drop)
}

/// Has the process no class of its own for disks? Then its nice level counts.
///
/// # Errors
/// Those of ioprio_get(2).
pub fn has_no_disk_class(pid: i32) -> io::Result<bool> {
    /// The class is above 13 bits of data (linux/ioprio.h).
    const CLASS: u32 = 13;
    // SAFETY: takes numbers only.
    let priority = check(unsafe { libc::syscall(libc::SYS_ioprio_get, ONE_PROCESS, pid) })?;
    Ok(priority >> CLASS == 0)
}

/// Takes its class for disks from the process.
///
/// # Errors
/// Those of ioprio_set(2).
pub fn drop_disk_class(pid: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, ONE_PROCESS, pid, 0) }).map(drop)
}
