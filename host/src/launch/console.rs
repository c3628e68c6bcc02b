//! The guest's console: a pseudo-terminal of its own devpts, so that nothing
//! of the host's terminals is inside, new at every boot (systemd hangs an
//! old one up).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::sys;

use super::places;

/// Both sides of the console.
pub struct Console {
    /// The keeper's side.
    pub master: OwnedFd,
    /// The guest's side, also mounted on `/dev/console`.
    pub terminal: OwnedFd,
}

/// Opens a pty in the fresh devpts below `root` and mounts its terminal on
/// `/dev/console`.
pub fn make(root: BorrowedFd<'_>) -> io::Result<Console> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let master = openat2(root, "dev/pts/ptmx", flags, Mode::empty(), resolve)?;
    sys::unlock_pty(master.as_fd())?;
    let terminal = sys::open_peer(master.as_fd())?;
    places::attach(&places::show(&terminal)?, &places::file(root, "dev/console")?)?;
    Ok(Console { master, terminal })
}
