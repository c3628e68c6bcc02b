//! Processes outside, by their number on the host.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use crate::descend::exists;
use crate::outcome::{Attempt, Prepare, number, refused, untried};
use crate::sys::Arg::N;
use crate::sys::{self, Arg};

/// SIGTERM to it.
pub fn signal(pid: &str) -> Attempt {
    sys::call(libc::SYS_kill, &[N(number(pid)?), N(libc::SIGTERM.into())])?;
    Ok("the signal was sent".to_owned())
}

/// `PTRACE_SEIZE`; what is seized goes on when this process ends.
pub fn ptrace(pid: &str) -> Attempt {
    const SEIZE: i64 = 0x4206;
    sys::call(libc::SYS_ptrace, &[N(SEIZE), N(number(pid)?), N(0), N(0)])?;
    Ok("seized".to_owned())
}

/// `/proc/PID/mem`.
pub fn memory(pid: &str) -> Attempt {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let first = maps.lines().next().and_then(|line| line.split('-').next());
    let address = first.and_then(|text| u64::from_str_radix(text, 16).ok());
    let Some(address) = address else { return refused("its memory map is empty") };
    let mut memory = File::open(format!("/proc/{pid}/mem"))?;
    memory.seek(SeekFrom::Start(address))?;
    memory.read_exact(&mut [0; 16])?;
    Ok("read its memory".to_owned())
}

/// `/proc/PID/environ`.
pub fn environment(pid: &str, secret: &str) -> Attempt {
    let text = fs::read(format!("/proc/{pid}/environ"))?;
    if String::from_utf8_lossy(&text).contains(secret) {
        return Ok("read its environment".to_owned());
    }
    refused("another process, with another environment")
}

/// `/proc/PID/root` and `cwd`.
pub fn root_of(pid: &str, path: &str) -> Attempt {
    let through_root = exists(&format!("/proc/{pid}/root/{path}"));
    through_root.or_else(|_| exists(&format!("/proc/{pid}/cwd/{path}")))
}

/// pidfd_open(2), then one of its descriptors.
pub fn pidfd(pid: &str) -> Attempt {
    let pidfd = sys::call(libc::SYS_pidfd_open, &[N(number(pid)?), N(0)])?;
    sys::call(libc::SYS_pidfd_getfd, &[N(pidfd), N(0), N(0)])?;
    Ok("took its standard input".to_owned())
}

/// prlimit(2), reading.
pub fn limits_of(pid: &str) -> Attempt {
    sys::call(libc::SYS_prlimit64, &[N(number(pid)?), N(7), N(0), Arg::Scratch])?;
    Ok("read its limits".to_owned())
}

/// sched_setscheduler(2) to what it is: ordinary.
pub fn scheduler_of(pid: &str) -> Attempt {
    let ordinary = fs::read_to_string("/proc/self/stat").prepare("reading /proc/self/stat")?;
    if ordinary.is_empty() {
        return untried("there is no /proc");
    }
    sys::call(libc::SYS_sched_setscheduler, &[N(number(pid)?), N(0), Arg::Halves(&[0])])?;
    Ok("changed its scheduler".to_owned())
}
