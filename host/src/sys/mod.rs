//! The only room of this crate with `unsafe`: system calls that neither nix
//! nor rustix wraps, each behind a small safe function.
//!
//! It holds no policy and no text. Processes that fork or change credentials
//! here, supervisors and sessions, never start a thread, which is what makes
//! fork-like calls and per-thread credentials sound. Commands that do several
//! guests at a time have threads, and so has `vserver top`; they call nothing of
//! this module that forks or changes the process.

#![allow(unsafe_code)]

mod process;
mod terminal;

pub mod block;
pub mod bpf;
pub mod extents;
pub mod handle;
pub mod mount;
pub mod network;
pub mod qgroup;
pub mod quota;
pub mod scheduling;
pub mod seccomp;
pub mod signals;

pub use process::{
    CloneArgs, Cloned, become_uid, clone3, close_all_but, close_from, close_inherited,
    close_on_exec_from, exec_by_descriptor, exit_now, fork, has_ended,
    keep_capabilities_over_setuid, kill, leave_session_keyring, let_go, lock_out_root_capabilities,
    parent_pid_namespace, place_descriptor, reset_broken_pipe, reset_signals, set_not_dumpable,
    signal_by_descriptor, signal_group_by_descriptor,
};
pub use terminal::{open_peer, set_controlling_terminal, set_window_size, unlock_pty, window_size};

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes ownership of a descriptor that the kernel has just handed over, in
/// an `SCM_RIGHTS` message or by inheritance over exec.
pub fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: callers pass a number that the kernel gave to this process and
    // that nothing else owns yet (see the two sources named above).
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Gives memory that is not used any more back to the kernel: a supervisor
/// needs most of it once, and then lives as long as its guest.
pub fn trim_memory() {
    // SAFETY: malloc_trim takes a number and touches the allocator's own
    // data only, in a program with one thread.
    unsafe { libc::malloc_trim(0) };
}

/// Turns the C convention (-1 and errno) into a result.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Which boot of the host this is: a new UUID each time (random(4)).
///
/// # Errors
/// Those of reading it from /proc.
pub fn host_boot() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}
