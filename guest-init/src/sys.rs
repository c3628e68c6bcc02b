//! The only room of guest-init with `unsafe`: what nix marks so, or lacks.
//!
//! Small functions without policy. The invariant that most of them lean on:
//! **guest-init is single-threaded**, it never starts a thread, so a forked
//! child may do whatever the parent may.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, Pid, chdir, execve, fork, pipe2, read, setsid, write};
use shared::outcome::Outcome;

nix::ioctl_write_int_bad!(tiocsctty, libc::TIOCSCTTY);
nix::ioctl_none_bad!(tiocnotty, libc::TIOCNOTTY);

/// Takes over descriptor `number` if it is open, and makes it close-on-exec.
///
/// To be called once, at program start, before anything else could own it.
pub fn take_descriptor(number: i32) -> Option<OwnedFd> {
    // SAFETY: fcntl with F_SETFD only changes a flag of the descriptor; a
    // closed one gives EBADF.
    let open = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: the descriptor is open (just checked) and inherited: nothing in
    // this program has made or owns it, as the caller promises by calling
    // this once at program start.
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// A descriptor that came over a socket.
pub fn adopt(number: i32) -> OwnedFd {
    // SAFETY: the kernel has made it for this process with the message that
    // the caller has just received, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Gives up the controlling terminal, if there is one, so that a child can
/// have it (tty_ioctl(4)). The kernel sends SIGHUP for it: to be called
/// before anything listens to signals, since PID 1 doesn't hear it then.
pub fn give_up_terminal() {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    if let Ok(terminal) = open(c"/dev/tty", flags, Mode::empty()) {
        // SAFETY: TIOCNOTTY takes no argument; the descriptor is open.
        let _ = unsafe { tiocnotty(terminal.as_raw_fd()) };
    }
}

/// What [`reap`] found.
pub enum Reaped {
    /// This child has ended and is gone.
    Child(Pid, Outcome),
    /// There are children, none has ended.
    None,
    /// There are no children at all.
    Childless,
}

/// Takes one ended child, without blocking.
///
/// nix's `waitpid` can't tell of children killed by a real-time signal: it
/// takes them and returns an error.
pub fn reap() -> Reaped {
    loop {
        let mut status = 0;
        // SAFETY: `status` lives across the call; waitpid writes one int.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
        return match pid {
            0 => Reaped::None,
            1.. => match Outcome::from_wait_status(status) {
                Some(outcome) => Reaped::Child(Pid::from_raw(pid), outcome),
                None => continue,
            },
            _ if Errno::last() == Errno::EINTR => continue,
            _ => Reaped::Childless,
        };
    }
}

/// Lets glibc's allocator keep as little as possible: one small arena, no
/// padding at its top.
pub fn frugal_allocator() {
    // SAFETY: mallopt changes a parameter of the allocator, in a program
    // with one thread.
    unsafe { libc::mallopt(libc::M_TOP_PAD, 4096) };
    // SAFETY: as above.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, 8192) };
}

/// Gives freed memory back to the kernel.
pub fn trim_memory() {
    // SAFETY: malloc_trim takes no pointers and is safe at any time.
    unsafe { libc::malloc_trim(0) };
}

/// A program ready to be executed: everything is prepared before the fork.
#[derive(Debug)]
pub struct Program {
    /// File to execute.
    pub path: CString,
    /// Arguments, with argument 0.
    pub argv: Vec<CString>,
    /// `NAME=VALUE`.
    pub environment: Vec<CString>,
    /// Device for standard input, output and error.
    pub terminal: CString,
    /// Make it the controlling terminal of the new session?
    pub controlling: bool,
    /// Written to the terminal; the program is executed after Enter.
    pub prompt: Option<&'static [u8]>,
}

/// Exit status of a child whose program could not be executed.
pub const NOT_EXECUTED: u8 = 127;

/// Forks a child that executes `program` in a session of its own, with
/// default signals and nothing blocked. When it can't be executed the child
/// says so on its terminal and exits with [`NOT_EXECUTED`].
///
/// # Errors
/// That of fork(2).
pub fn spawn(program: &Program) -> nix::Result<Pid> {
    spawn_telling(program, |_| ())
}

/// As [`spawn`], and waits until the program is executed, or has turned out not to be
/// executable: then also why. A file system that doesn't answer holds this up, and then the
/// deadline of a stop ends it, which is the supervisor's.
///
/// # Errors
/// Those of pipe2(2) and fork(2).
pub fn spawn_executed(program: &Program) -> nix::Result<(Pid, nix::Result<()>)> {
    // execve(2) closes it; only a child that has failed writes to it.
    let (failure, tell) = pipe2(OFlag::O_CLOEXEC)?;
    let pid = spawn_telling(program, |errno| {
        let _ = write(&tell, &(errno as i32).to_ne_bytes());
    })?;
    drop(tell);
    let mut errno = [0u8; 4];
    loop {
        match read(&failure, &mut errno) {
            Err(Errno::EINTR) => {}
            Ok(4) => return Ok((pid, Err(Errno::from_raw(i32::from_ne_bytes(errno))))),
            _ => return Ok((pid, Ok(()))),
        }
    }
}

/// [`spawn`] with what the child does if `program` can't be executed.
fn spawn_telling(program: &Program, failed: impl FnOnce(Errno)) -> nix::Result<Pid> {
    fork_child(|| {
        let errno = match execute(program) {
            Ok(never) => match never {},
            Err(errno) => errno,
        };
        let path = program.path.to_string_lossy();
        let line = format!("guest-init: cannot execute '{path}': {}\r\n", errno.desc());
        let _ = write(std::io::stderr(), line.as_bytes());
        failed(errno);
        NOT_EXECUTED
    })
}

/// Forks a child that does `work` and exits with its result.
///
/// # Errors
/// That of fork(2).
pub fn fork_child(work: impl FnOnce() -> u8) -> nix::Result<Pid> {
    // SAFETY: the process is single-threaded (see the module's head), so no
    // lock can be held by a thread that doesn't exist in the child.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            reset_signals();
            let code = work();
            // SAFETY: _exit never returns; no destructor or buffer of the
            // parent's may run or be flushed here.
            unsafe { libc::_exit(i32::from(code)) }
        }
    }
}

/// The child's half of [`spawn`].
fn execute(program: &Program) -> nix::Result<Infallible> {
    let _ = setsid();
    let _ = chdir("/");
    umask(Mode::from_bits_truncate(0o022));
    attach_terminal(program);
    if let Some(prompt) = program.prompt {
        wait_for_enter(prompt);
    }
    match execve(&program.path, &program.argv, &program.environment) {
        // A script without "#!": execvp(3) and sysvinit give it to the shell.
        Err(Errno::ENOEXEC) => {
            let mut argv = vec![c"/bin/sh".to_owned(), program.path.clone()];
            argv.extend(program.argv.iter().skip(1).cloned());
            execve(c"/bin/sh", &argv, &program.environment)
        }
        other => other,
    }
}

/// Every signal's default action back (Rust ignores SIGPIPE), none blocked.
pub fn reset_signals() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        // SAFETY: the default action runs no code of ours in a handler.
        let _ = unsafe { sigaction(signal, &default) };
    }
    let _ = SigSet::empty().thread_set_mask();
}

/// Standard input, output and error on the terminal, else on /dev/null.
fn attach_terminal(program: &Program) {
    // Without O_NONBLOCK the opening of a serial line waits for its carrier.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let opened = open(program.terminal.as_c_str(), flags, Mode::empty());
    let Ok(terminal) = opened.or_else(|_| open(c"/dev/null", OFlag::O_RDWR, Mode::empty())) else {
        return;
    };
    if let Ok(flags) = fcntl(&terminal, FcntlArg::F_GETFL) {
        let blocking = OFlag::from_bits_truncate(flags) & !OFlag::O_NONBLOCK;
        let _ = fcntl(&terminal, FcntlArg::F_SETFL(blocking));
    }
    let _ = nix::unistd::dup2_stdin(&terminal);
    let _ = nix::unistd::dup2_stdout(&terminal);
    let _ = nix::unistd::dup2_stderr(&terminal);
    if program.controlling {
        // SAFETY: TIOCSCTTY takes an int by value; the descriptor is open.
        let _ = unsafe { tiocsctty(terminal.as_raw_fd(), 0) };
    }
    // Below 3 it is one of the three itself and has to stay open.
    if terminal.as_raw_fd() <= 2 {
        core::mem::forget(terminal);
    }
}

/// Asks for Enter, as busybox's `askfirst` does. End of file counts as one,
/// after a pause that keeps a dead terminal from spinning.
fn wait_for_enter(prompt: &[u8]) {
    let _ = write(std::io::stdout(), prompt);
    let mut byte = [0u8; 1];
    loop {
        match read(std::io::stdin(), &mut byte) {
            Ok(1) if byte == *b"\n" => return,
            Ok(1) | Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => {
                nix::unistd::sleep(5);
                return;
            }
        }
    }
}

/// How a child has ended, if it has. It is not reaped: its pid stays its own.
///
/// # Errors
/// ECHILD if it isn't a child of this process.
pub fn peek(child: Pid) -> Result<Option<Outcome>, Errno> {
    // SAFETY: siginfo_t is plain data for which zeroes are a valid value.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let id = u32::try_from(child.as_raw()).map_err(|_| Errno::EINVAL)?;
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` lives across the call, which writes one siginfo_t.
    let result = unsafe { libc::waitid(libc::P_PID, id, &raw mut info, flags) };
    Errno::result(result)?;
    // SAFETY: waitid has filled the structure in its SIGCHLD form, or left it
    // zero when the child lives; the field is a plain number.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    if pid == 0 {
        return Ok(None);
    }
    let status = u8::try_from(status).unwrap_or(u8::MAX);
    Ok(match info.si_code {
        libc::CLD_EXITED => Some(Outcome::Exited(status)),
        libc::CLD_KILLED | libc::CLD_DUMPED => Some(Outcome::Killed(status)),
        _ => None,
    })
}
