//! Calls that have no business in a guest, as data: each with arguments that
//! do no harm where the kernel takes it. Reaching the kernel's own judgement
//! of the arguments is success; EPERM and EACCES are refusals.

use std::io;

use crate::outcome::{Attempt, number, refused, untried};
use crate::sys::Arg::{self, Halves, N, Scratch, Text, Words};
use crate::sys::{self};

/// A system call: its name, its number for 64-bit programs, the one for
/// 32-bit programs, and its arguments.
struct Call(&'static str, i64, i64, &'static [Arg<'static>]);

/// No such call for these programs.
const NONE: i64 = -1;

const CALLS: &[Call] = &[
    Call("mount", 165, 21, &[Text(c"none"), Text(c"/tmp"), Text(c"tmpfs"), N(0), N(0)]),
    // Not a mount point: EINVAL where it is allowed at all.
    Call("umount2", 166, 52, &[Text(c"/tmp"), N(0)]),
    Call("pivot_root", 155, 217, &[Text(c"/"), Text(c"/")]),
    Call("fsopen", 430, 430, &[Text(c"tmpfs"), N(0)]),
    Call("fsconfig", 431, 431, &[N(-1), N(6), N(0), N(0), N(0)]),
    Call("fsmount", 432, 432, &[N(-1), N(0), N(0)]),
    Call("fspick", 433, 433, &[N(-100), Text(c"/"), N(0)]),
    Call("open_tree", 428, 428, &[N(-100), Text(c"/"), N(1)]),
    Call("open_tree_attr", 467, 467, &[N(-100), Text(c"/"), N(1), N(0), N(0)]),
    Call("move_mount", 429, 429, &[N(-1), Text(c""), N(-1), Text(c""), N(0x44)]),
    Call("mount_setattr", 442, 442, &[N(-100), Text(c"/"), N(0), Words(&[0, 0, 0, 0]), N(32)]),
    Call("setns", 308, 346, &[N(-1), N(0)]),
    Call("unshare-newns", 272, 310, &[N(libc::CLONE_NEWNS as i64)]),
    Call("unshare-newuser", 272, 310, &[N(libc::CLONE_NEWUSER as i64)]),
    Call("unshare-newtime", 272, 310, &[N(0x80)]),
    Call("clone-newuser", 56, 120, &[N((libc::CLONE_NEWUSER | libc::SIGCHLD) as i64)]),
    // The kernel ignores the upper half.
    Call(
        "clone-newuser-high",
        56,
        NONE,
        &[N(1 << 32 | (libc::CLONE_NEWUSER | libc::SIGCHLD) as i64)],
    ),
    Call("clone3-newuser", 435, 435, &[Words(&CLONE3), N(64)]),
    Call("init_module", 175, 128, &[N(0), N(0), Text(c"")]),
    Call("finit_module", 313, 350, &[N(-1), Text(c""), N(0)]),
    Call("delete_module", 176, 129, &[Text(c"no-such-module"), N(0)]),
    // More segments than there can be: EINVAL.
    Call("kexec_load", 246, 283, &[N(0), N(1 << 20), N(0), N(0)]),
    Call("kexec_file_load", 320, NONE, &[N(-1), N(-1), N(0), N(0), N(0)]),
    Call("bpf", 321, 357, &[N(5), N(0), N(0)]),
    Call("perf_event_open", 298, 336, &[N(0), N(0), N(-1), N(-1), N(0)]),
    Call("add_key", 248, 286, &[Text(c"user"), Text(c"vserver-attacker"), Text(c"x"), N(1), N(-2)]),
    Call("request_key", 249, 287, &[Text(c"user"), Text(c"vserver-nobody"), N(0), N(0)]),
    Call("keyctl", 250, 288, &[N(0), N(-3), N(0)]),
    // Neither a time nor a zone: changes nothing.
    Call("settimeofday", 164, 79, &[N(0), N(0)]),
    Call("clock_settime64", NONE, 404, &[N(0), N(0)]),
    Call("stime", NONE, 25, &[N(0)]),
    Call("adjtimex", 159, 124, &[Scratch]),
    Call("clock_adjtime", 305, 343, &[N(0), Scratch]),
    Call("swapon", 167, 87, &[Text(c"/no-such-file"), N(0)]),
    Call("swapoff", 168, 115, &[Text(c"/no-such-file")]),
    Call("quotactl", 179, 131, &[N(0x0080_0001 << 8), N(0), N(0), N(0)]),
    Call("quotactl_fd", 443, 443, &[N(-1), N(0x0080_0001 << 8), N(0), N(0)]),
    Call("open_by_handle_at", 304, 342, &[N(-1), N(0), N(0)]),
    // UFFD_USER_MODE_ONLY
    Call("userfaultfd", 323, 374, &[N(1)]),
    Call("io_uring_setup", 425, 425, &[N(1), Scratch]),
    Call("io_uring_enter", 426, 426, &[N(-1), N(0), N(0), N(0), N(0)]),
    Call("io_uring_register", 427, 427, &[N(-1), N(0), N(0), N(0)]),
    Call("syslog", 103, 103, &[N(3), Scratch, N(64)]),
    Call("iopl", 172, 110, &[N(0)]),
    Call("ioperm", 173, 101, &[N(0x80), N(1), N(0)]),
    Call("acct", 163, 51, &[N(0)]),
    Call("sysfs", 139, 135, &[N(3)]),
    Call("tiocsti", 16, 54, &[N(0), N(0x5412), Text(c"x")]),
    // The kernel takes the lower half as the request (CVE-2019-7303).
    Call("tiocsti-high", 16, NONE, &[N(0), N(1 << 32 | 0x5412), Text(c"x")]),
    // TIOCL_GETSHIFTSTATE; the rest pastes (CVE-2023-1523).
    Call("tioclinux", 16, 54, &[N(0), N(0x541c), Text(c"\x06")]),
    Call("tioclinux-high", 16, NONE, &[N(0), N(1 << 40 | 0x541c), Text(c"\x06")]),
    // No such discipline.
    Call("tiocsetd", 16, 54, &[N(0), N(0x5423), Halves(&[63])]),
    Call("tiocsetd-high", 16, NONE, &[N(0), N(1 << 32 | 0x5423), Halves(&[63])]),
    Call("socket-vsock", 41, 359, &[N(40), N(1), N(0)]),
    Call("socket-vsock-high", 41, NONE, &[N(1 << 32 | 40), N(1), N(0)]),
    Call("socket-alg", 41, 359, &[N(38), N(5), N(0)]),
    Call("socket-llc", 41, 359, &[N(26), N(2), N(0)]),
    Call("socket-xdp", 41, 359, &[N(44), N(3), N(0)]),
    Call("socket-key", 41, 359, &[N(15), N(3), N(2)]),
    Call("socket-tipc", 41, 359, &[N(30), N(2), N(0)]),
    Call("socket-can", 41, 359, &[N(29), N(3), N(1)]),
    Call("socket-packet", 41, 359, &[N(17), N(3), N(0)]),
    Call("socketpair-vsock", 53, 360, &[N(40), N(1), N(0), Scratch]),
    Call("socketcall-vsock", NONE, 102, &[N(1), Halves(&[40, 1, 0])]),
    Call("socketcall-alg", NONE, 102, &[N(1), Halves(&[38, 5, 0])]),
    Call("socketcall-unix", NONE, 102, &[N(1), Halves(&[1, 1, 0])]),
    Call("socketcall-inet", NONE, 102, &[N(1), Halves(&[2, 1, 0])]),
    Call("sethostname", 170, 74, &[Text(c"attacker"), N(8)]),
    Call("setdomainname", 171, 121, &[Text(c"attacker"), N(8)]),
    Call("getpid", 39, 20, &[]),
    Call("execve", 520, NONE, &[Text(c"/no-such-file"), N(0), N(0)]),
];

/// `struct clone_args` (clone(2)): flags, then SIGCHLD as the fifth.
const CLONE3: [u64; 8] = [libc::CLONE_NEWUSER as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];

/// Where a call that doesn't exist is the answer that a program expects of an
/// old kernel: libc then does without it.
const MAY_BE_ABSENT: &[&str] = &["clone3-newuser", "sysfs"];

/// As 64-bit programs call it.
pub fn native(name: &str) -> Attempt {
    let Call(_, number, _, arguments) = find(name)?;
    judge(name, sys::call(*number, arguments), &[])
}

/// A stream socket of this family, made by io_uring: no filter of system
/// calls sees it.
pub fn ring_socket(family: &str) -> Attempt {
    let family = i32::try_from(number(family)?).or_else(|_| untried("no family"))?;
    judge("IORING_OP_SOCKET", sys::ring_socket(family).map(i64::from), &[])
}

/// As 32-bit programs call it.
pub fn compatible(name: &str) -> Attempt {
    let Call(_, _, number, arguments) = find(name)?;
    judge(name, sys::call32(*number, arguments), &[])
}

/// As x32 programs call it (`__X32_SYSCALL_BIT`).
pub fn x32(name: &str) -> Attempt {
    let Call(_, number, _, arguments) = find(name)?;
    judge(name, sys::call(*number | 0x4000_0000, arguments), &[libc::ENOSYS])
}

fn find(name: &str) -> Result<&'static Call, crate::outcome::Failure> {
    let found = CALLS.iter().find(|call| call.0 == name);
    found.map_or_else(|| untried(format!("there is no call '{name}'")), Ok)
}

fn judge(name: &str, result: io::Result<i64>, refusals: &[i32]) -> Attempt {
    let error = match result {
        // A child of clone(2) has nothing to say.
        Ok(0) if name.starts_with("clone") => sys::exit(0),
        Ok(value) => return Ok(format!("{name} returned {value}")),
        Err(error) => error,
    };
    let number = error.raw_os_error().unwrap_or(0);
    // A limit of 0 on user namespaces says ENOSPC (user_namespaces(7)).
    let limit = number == libc::ENOSPC && name.contains("newuser");
    let absent = number == libc::ENOSYS && MAY_BE_ABSENT.contains(&name);
    let usual = [libc::EPERM, libc::EACCES].contains(&number);
    if usual || limit || absent || refusals.contains(&number) {
        return refused(format!("{name}: {error}"));
    }
    Ok(format!("{name} reached the kernel: {error}"))
}
