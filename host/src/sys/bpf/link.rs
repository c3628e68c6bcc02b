//! Links of programs to network namespaces: a program that is attached by one
//! stays so as long as a descriptor of the link is open.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{Hook, PROG_GET_FD_BY_ID, address, by_id, call, info, open};

/// Commands.
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const LINK_CREATE: libc::c_int = 28;
const LINK_GET_FD_BY_ID: libc::c_int = 30;
const LINK_GET_NEXT_ID: libc::c_int = 31;

/// `BPF_LINK_TYPE_RAW_TRACEPOINT` and `BPF_LINK_TYPE_NETNS`
const TRACEPOINT: u32 = 1;
const NETWORK: u32 = 5;

/// The tracepoint of clone(2) and its kin (include/trace/events/sched.h).
const FORK: &std::ffi::CStr = c"sched_process_fork";

/// The part of `union bpf_attr` that making a link takes.
#[repr(C)]
struct Create {
    program: RawFd,
    target: RawFd,
    attach_type: u32,
    flags: u32,
}

/// The part that attaching to a tracepoint takes.
#[repr(C)]
struct Trace {
    name: u64,
    program: RawFd,
    padding: u32,
}

/// The part that asking for the next id takes.
#[repr(C)]
struct Next {
    after: u32,
    next: u32,
    flags: u32,
}

/// `struct bpf_link_info` of a link to a network namespace.
#[repr(C)]
#[derive(Default)]
struct Info {
    link_type: u32,
    id: u32,
    program: u32,
    padding: u32,
    namespace: u32,
    attach_type: u32,
}

/// Attaches a program to a network namespace, beside those that it has.
///
/// # Errors
/// E2BIG if it has too many (64 of a type); EPERM without CAP_NET_ADMIN.
pub fn link(namespace: BorrowedFd<'_>, hook: Hook, program: &OwnedFd) -> io::Result<OwnedFd> {
    let mut attributes = Create {
        program: program.as_raw_fd(),
        target: namespace.as_raw_fd(),
        attach_type: hook.attach_type(),
        flags: 0,
    };
    open(LINK_CREATE, &mut attributes)
}

/// The programs that are linked so to the network namespace with this inode,
/// each with its link.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn linked(namespace: u64, hook: Hook) -> io::Result<Vec<(OwnedFd, OwnedFd)>> {
    all(|link| {
        link.link_type == NETWORK
            && u64::from(link.namespace) == namespace
            && link.attach_type == hook.attach_type()
    })
}

/// Has a program see every process and thread that is made on this host.
///
/// # Errors
/// EPERM without CAP_PERFMON.
pub fn trace_forks(program: &OwnedFd) -> io::Result<OwnedFd> {
    let mut attributes =
        Trace { name: address(FORK.as_ptr()), program: program.as_raw_fd(), padding: 0 };
    open(RAW_TRACEPOINT_OPEN, &mut attributes)
}

/// The programs that are attached to tracepoints, each with its link.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn tracing_forks() -> io::Result<Vec<(OwnedFd, OwnedFd)>> {
    all(|link| link.link_type == TRACEPOINT)
}

/// The programs whose links are wanted, each with its link.
fn all(is_it: impl Fn(&Info) -> bool) -> io::Result<Vec<(OwnedFd, OwnedFd)>> {
    let mut found = Vec::new();
    let mut next = Next { after: 0, next: 0, flags: 0 };
    loop {
        match call(LINK_GET_NEXT_ID, &mut next) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            other => other?,
        };
        next.after = next.next;
        // One that has gone meanwhile is none.
        let Ok(link) = by_id(LINK_GET_FD_BY_ID, next.next) else { continue };
        let link_info: Info = info(&link)?;
        if is_it(&link_info)
            && let Ok(program) = by_id(PROG_GET_FD_BY_ID, link_info.program)
        {
            found.push((link, program));
        }
    }
}
