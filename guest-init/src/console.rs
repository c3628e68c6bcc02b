//! One-line messages on the guest's console.
//!
//! Never blocks, never fails, never panics. The console may hang up at any
//! time (the kernel hangs a terminal up when the session that it controlled
//! ends, tty_ioctl(4)), so it is opened for every message; what can't be
//! written is lost, since the link to the host carries what matters.

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::write;

/// Writes one line.
pub fn say(text: &str) {
    let flags = OFlag::O_WRONLY | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    if let Ok(console) = open(c"/dev/console", flags, Mode::empty()) {
        let _ = write(&console, format!("{text}\r\n").as_bytes());
    }
}
