//! Pseudo-terminals: the ioctls of ioctl_tty(2) and ioctl_tty for ptys.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{adopt, check};

/// Lets the other side of a pty be opened (`TIOCSPTLCK`).
///
/// # Errors
/// ENOTTY if it is no pty master.
pub fn unlock_pty(master: BorrowedFd<'_>) -> io::Result<()> {
    let unlocked: libc::c_int = 0;
    // SAFETY: the argument points to an int that lives through the call.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }.into())
        .map(drop)
}

/// Opens the other side of a pty without a path (`TIOCGPTPEER`), so that no
/// file name of a guest is involved. Close-on-exec, no controlling terminal.
///
/// # Errors
/// EIO if it is still locked.
pub fn open_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes numbers only.
    let fd = check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())?;
    Ok(adopt(fd as i32))
}

/// Makes a terminal the controlling one of this session (`TIOCSCTTY`).
///
/// # Errors
/// EPERM if the caller leads no session or the terminal belongs to another.
pub fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// The terminal's size (`TIOCGWINSZ`).
///
/// # Errors
/// ENOTTY if it is no terminal.
pub fn window_size(terminal: BorrowedFd<'_>) -> io::Result<libc::winsize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the argument points to a winsize that lives through the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(size)
}

/// Sets the terminal's size (`TIOCSWINSZ`); its foreground group gets
/// SIGWINCH.
///
/// # Errors
/// ENOTTY if it is no terminal.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: libc::winsize) -> io::Result<()> {
    // SAFETY: the argument points to a winsize that lives through the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
        .map(drop)
}
