//! Processes: clone3, fork, execveat, credentials, descriptors, signals.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{adopt, check};

/// clone(2); the libc crate's constant has too few bits.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What [`clone3`] is to make.
#[derive(Debug)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*` flags.
    pub namespaces: u64,
    /// The v2 cgroup that the child is born into.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Cloned {
    /// The new process.
    Child,
    /// The old one, with the child's pid and a pidfd for it.
    Parent {
        /// Pid of the child, in the caller's PID namespace.
        pid: i32,
        /// Refers to the child; close-on-exec.
        pidfd: OwnedFd,
    },
}

/// Forks into new namespaces (clone(2), "clone3()"; Linux 5.7 for the
/// cgroup).
///
/// # Errors
/// Those of clone(2).
pub fn clone3(args: &CloneArgs<'_>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut flags = args.namespaces | libc::CLONE_PIDFD as u64;
    if args.cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let raw = libc::clone_args {
        flags,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: args.cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: `raw` and `pidfd` live through the call; without CLONE_VM and
    // with stack 0 the call behaves like fork; the process has one thread, so
    // the child's copy of the heap and its locks is consistent.
    let result = unsafe {
        libc::syscall(libc::SYS_clone3, ptr::from_ref(&raw), size_of::<libc::clone_args>())
    };
    match check(result)? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent { pid: pid as i32, pidfd: adopt(pidfd) }),
    }
}

/// fork(2) with a pidfd for the child (`CLONE_PIDFD`, Linux 5.2), by the
/// older call: a guest's filter refuses clone3, and sessions fork under it.
///
/// # Errors
/// Those of clone(2).
pub fn fork() -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    let none = ptr::null::<libc::c_void>();
    // SAFETY: `pidfd` lives through the call, which writes it in place of the
    // parent's thread id; without CLONE_VM and without a stack the call
    // behaves like fork; the process has one thread, so the child's copy of
    // the heap and its locks is consistent.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags),
            none,
            ptr::from_mut(&mut pidfd),
            none,
            none,
        )
    };
    match check(result)? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent { pid: pid as i32, pidfd: adopt(pidfd) }),
    }
}

/// Executes the program behind a descriptor (execveat(2) with
/// `AT_EMPTY_PATH`); returns only if that failed.
pub fn exec_by_descriptor(program: BorrowedFd<'_>, argv: &[&CStr], env: &[&CStr]) -> io::Error {
    let pointers = |list: &[&CStr]| -> Vec<*const libc::c_char> {
        list.iter().map(|item| item.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays are null-terminated and their strings outlive the
    // call, which doesn't return on success.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// Changes the real and the effective uid of this thread only, by the raw
/// system call: the C library's function would keep capabilities from being
/// restored.
///
/// # Errors
/// Those of setresuid(2).
pub fn become_uid(uid: u32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, -1) }).map(drop)
}

/// Keeps capabilities over changes of uids
/// (`SECBIT_NO_SETUID_FIXUP`, capabilities(7)).
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn keep_capabilities_over_setuid(keep: bool) -> io::Result<()> {
    let bits = if keep { libc::SECBIT_NO_SETUID_FIXUP } else { 0 };
    // SAFETY: takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits, 0, 0, 0) }.into()).map(drop)
}

/// Lets no later exec of uid 0 gain capabilities (`SECBIT_NOROOT`, locked)
/// or privileges (`PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn lock_out_root_capabilities() -> io::Result<()> {
    let bits = libc::SECBIT_NOROOT | libc::SECBIT_NOROOT_LOCKED;
    // SAFETY: takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits, 0, 0, 0) }.into())?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into()).map(drop)
}

/// Lets a stopped process that this one traces go on, traced no more, with a
/// signal (`PTRACE_DETACH`, ptrace(2)); 0 for none. Those that libc keeps to
/// itself are among them.
///
/// # Errors
/// Those of ptrace(2).
pub fn let_go(pid: i32, signal: i32) -> io::Result<()> {
    let none = ptr::null_mut::<libc::c_void>();
    let signal = ptr::without_provenance_mut::<libc::c_void>(signal.unsigned_abs() as usize);
    // SAFETY: of the pointers one isn't used, and the other is a number.
    check(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, none, signal) }).map(drop)
}

/// Keeps processes of a guest from looking into this one (`PR_SET_DUMPABLE`,
/// ptrace(2) "Ptrace access mode checking").
///
/// # Errors
/// Those of prctl(2).
pub fn set_not_dumpable() -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into()).map(drop)
}

/// Leaves the session keyring of whoever started this process for a new and
/// empty one (keyctl(2), `KEYCTL_JOIN_SESSION_KEYRING`): it stays over clone,
/// exec and changes of ids, and whoever has it can read its keys.
///
/// # Errors
/// EDQUOT where a user has too many keys; a kernel without keys is no error.
pub fn leave_session_keyring() -> io::Result<()> {
    let none = ptr::null::<libc::c_char>();
    // SAFETY: the one pointer is null, which asks for an anonymous keyring.
    let joined = unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING as libc::c_long, none)
    };
    match check(joined) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2)).
///
/// # Errors
/// Those of close_range(2).
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let cloexec = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: takes numbers only, and closes nothing that this process uses:
    // the flag takes effect at exec.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, cloexec) }).map(drop)
}

/// Closes every descriptor but standard input, output and error: what this
/// process has inherited by accident. To be called before anything else is
/// opened.
///
/// # Errors
/// Those of close_range(2).
pub fn close_inherited() -> io::Result<()> {
    // SAFETY: takes numbers only; as the first act of the program, nothing in
    // it owns a descriptor above the three.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }).map(drop)
}

/// Closes every descriptor from 3 on but `kept`, whoever owns them.
///
/// Only for processes that use nothing else until they exec or end by
/// [`exit_now`].
///
/// # Errors
/// Those of close_range(2).
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut first = 3;
    loop {
        // No memory is allocated: after a fork another thread's lock on it may stay.
        let numbers = kept.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok());
        let next = numbers.filter(|number| *number >= first).min();
        let last = next.map_or(u32::MAX, |next| next.saturating_sub(1));
        if first <= last {
            // SAFETY: takes numbers only. Owners of these descriptors exist
            // still, but by the contract above none is used or dropped.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
        }
        let Some(next) = next else { return Ok(()) };
        first = next.saturating_add(1);
    }
}

/// Closes every descriptor from `first` on, whoever owns it.
///
/// Only for processes that use nothing else until they exec or end by
/// [`exit_now`].
///
/// # Errors
/// Those of close_range(2).
pub fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers only. Owners of these descriptors exist still,
    // but by the contract above none is used or dropped.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// The PID namespace that a PID namespace was made in (ioctl_ns(2),
/// `NS_GET_PARENT`).
///
/// # Errors
/// EPERM if that is none of the caller's own or below it.
pub fn parent_pid_namespace(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    /// linux/nsfs.h: `_IO(0xb7, 2)`.
    const NS_GET_PARENT: libc::c_ulong = 0xb702;
    // SAFETY: takes numbers only.
    let fd = check(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) }.into())?;
    Ok(adopt(fd as i32))
}

/// Puts a descriptor at a fixed number, inheritable over exec. Whatever was
/// open there is closed.
///
/// # Errors
/// Those of dup2(2) and fcntl(2).
pub fn place_descriptor(fd: OwnedFd, number: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: takes numbers only; `fd` is open.
        check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }.into())?;
        let _ = fd.into_raw_fd();
        return Ok(());
    }
    // SAFETY: takes numbers only. The one caller shape is a process about to
    // exec, which has moved what it still needs above the fixed numbers.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into()).map(drop)
}

/// Default action for every signal and an empty mask, so that what is
/// executed next doesn't inherit `nohup` or this program's choices.
pub fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL needs no handler to stay alive; for the few signals
        // that can't be changed the call fails and changes nothing.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
    let empty = nix::sys::signal::SigSet::empty();
    let _ = empty.thread_set_mask();
}

/// Default action for SIGPIPE, which Rust's run time ignores: an ignored
/// signal would stay so over exec.
pub fn reset_broken_pipe() {
    // SAFETY: SIG_DFL needs no handler to stay alive.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Ends this process at once, without the exit handlers that belong to the
/// process it was forked from.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: takes a number and doesn't return.
    unsafe { libc::_exit(code.into()) }
}

/// Sends a signal, also a real-time one, which nix has no names for.
///
/// # Errors
/// Those of kill(2).
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Sends a signal to the process behind a pidfd (pidfd_send_signal(2)), also
/// one that has no name, and 0.
///
/// # Errors
/// Those of pidfd_send_signal(2).
pub fn signal_by_descriptor(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: the one pointer is null, which asks for what kill(2) sends.
    let sent =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) };
    check(sent).map(drop)
}

/// The same, to all of its process group where the kernel can do that
/// (`PIDFD_SIGNAL_PROCESS_GROUP`, since 6.9) and it leads one; else to the process
/// alone.
///
/// # Errors
/// Those of pidfd_send_signal(2).
pub fn signal_group_by_descriptor(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    const PROCESS_GROUP: libc::c_uint = 1 << 2;
    let none = ptr::null::<libc::siginfo_t>();
    let (call, fd) = (libc::SYS_pidfd_send_signal, process.as_raw_fd());
    // SAFETY: the one pointer is null, which asks for what kill(2) sends.
    let sent = unsafe { libc::syscall(call, fd, signal, none, PROCESS_GROUP) };
    match check(sent) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ESRCH)) => {
            signal_by_descriptor(process, signal)
        }
        sent => sent.map(drop),
    }
}

/// Has the process behind a pidfd ended (pidfd_open(2))? Its parent may not have
/// taken note yet.
pub fn has_ended(process: impl AsFd) -> bool {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    #[test]
    fn a_process_is_signalled_whether_it_leads_a_group_or_not() {
        for leads in [false, true] {
            let mut command = Command::new("sleep");
            command.arg("60");
            if leads {
                command.process_group(0);
            }
            let mut child = command.spawn().unwrap();
            let pid = Pid::from_raw(child.id() as i32).unwrap();
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
            signal_group_by_descriptor(pidfd.as_fd(), libc::SIGTERM).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM), "{leads}");
        }
    }
}
