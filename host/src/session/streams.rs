//! What a session's program has as standard input, output and error.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::{getpgrp, tcgetpgrp};
use rustix::fs::{FsWord, Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::isatty;

use crate::sys;

/// `DEVPTS_SUPER_MAGIC` (statfs(2)).
const DEVPTS: FsWord = 0x1cd1;

/// The guest's side and the host's side of three pipes.
#[derive(Debug)]
pub struct Pipes {
    /// Standard input, output and error of the program.
    pub inside: [OwnedFd; 3],
    /// The other end of each.
    pub outside: [OwnedFd; 3],
}

impl Pipes {
    /// Three pipes, close-on-exec.
    pub fn new() -> io::Result<Self> {
        let (input, from_user) = pipe_with(PipeFlags::CLOEXEC)?;
        let (output, to_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (errors, to_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { inside: [input, to_stdout, to_stderr], outside: [from_user, output, errors] })
    }
}

/// Does the user sit at a terminal, for both input and output, and type for this
/// process?
pub fn has_terminal() -> bool {
    isatty(io::stdin()) && isatty(io::stdout()) && !is_in_background()
}

/// Is standard input a terminal whose keys are for another job, as they are for a shell's
/// while this is one in its background, or below timeout(1)? Whoever reads or changes such
/// a terminal is stopped (termios(3), SIGTTIN and SIGTTOU).
pub fn is_in_background() -> bool {
    matches!(tcgetpgrp(io::stdin()), Ok(foreground) if foreground != getpgrp())
}

/// Opens a pty in the guest that the caller has joined: master and terminal.
///
/// The guest's root may have put anything in place of `/dev/pts/ptmx`: it is
/// opened without waiting, and must be on a devpts.
pub fn open_pty() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS;
    let cwd = rustix::fs::CWD;
    let master = openat2(cwd, "/dev/pts/ptmx", flags, Mode::empty(), resolve)?;
    if fstatfs(&master)?.f_type != DEVPTS {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    sys::unlock_pty(master.as_fd())?;
    let terminal = sys::open_peer(master.as_fd())?;
    Ok((master, terminal))
}
