//! Context 1, the spectator: sees the processes of all contexts and can
//! signal none.
//!
//! There is no such thing in the kernel, and the host sees all processes
//! anyway. So its commands are processes of the host's, under a filter that
//! refuses the system calls which signal, stop or change other processes.
//! What root can do by writing to files stays: it keeps mistakes off, not
//! attackers.

use std::io;

use crate::seccomp::{self, Answer, Rule, When};
use crate::sys;

/// What is refused.
const RULES: [Rule; 3] = [
    // Signals, and reaching into other processes.
    Rule {
        calls: &[
            "kill",
            "tkill",
            "tgkill",
            "rt_sigqueueinfo",
            "rt_tgsigqueueinfo",
            "pidfd_send_signal",
            "ptrace",
            "process_vm_writev",
            "pidfd_getfd",
            "process_mrelease",
        ],
        when: When::Always,
        answer: Answer::NotPermitted,
    },
    // Who gets a descriptor's signals, and which (fcntl(2): F_SETOWN,
    // F_SETSIG, F_SETOWN_EX).
    Rule {
        calls: &["fcntl", "fcntl64"],
        when: When::OneOf { argument: 1, values: &[8, 10, 15] },
        answer: Answer::NotPermitted,
    },
    // The same (asm-generic/sockios.h: FIOSETOWN, SIOCSPGRP), and signals to
    // a terminal's processes (ioctl_tty(2): TIOCSTI, TIOCSIG).
    Rule {
        calls: &["ioctl"],
        when: When::OneOf { argument: 1, values: &[0x8901, 0x8902, 0x5412, 0x4004_5436] },
        answer: Answer::NotPermitted,
    },
];

/// Makes the calling process, and what it executes, a spectator for good.
///
/// # Errors
/// Those of seccomp(2).
pub fn become_spectator() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        // seccomp(2): only who can't gain privileges may be filtered.
        nix::sys::prctl::set_no_new_privs()?;
    }
    let programs = seccomp::compile(&RULES).map_err(io::Error::other)?;
    programs.iter().try_for_each(|program| sys::seccomp::install(program))
}
