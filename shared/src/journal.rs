//! A stream to the host's journal: every line that is written to it is a
//! message (systemd-journald.service(8)).
//!
//! journald keeps streams over its own restarts, not over a stop, and it asks
//! the kernel once who has connected (unix(7), `SO_PEERCRED`): whoever is to be
//! named as the writer connects, and connects again.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::sockopt::SndBufForce;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket};

/// Where journald takes streams, as sd_journal_stream_fd(3) does.
const SOCKET: &str = "/run/systemd/journal/stdout";

/// So much may wait until journald takes it.
const BUFFER: usize = 1 << 20;

/// The priority of what comes over it: informational (syslog(3)).
const PRIORITY: u8 = 6;

/// Opens a stream whose lines are messages of the process that calls this, of
/// whatever program it executes then. No line can say more than its text: no
/// priority is read from it. `unit` counts where the process isn't in the
/// cgroup of any. Neither name may have a newline. Nothing here or in the
/// stream blocks.
///
/// # Errors
/// When there is no journal, or it takes no connection at once.
pub fn stream(identifier: &str, unit: &str) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Not waited for: one that takes no connections may never do.
    connect(socket.as_raw_fd(), &UnixAddr::new(SOCKET)?)?;
    let mut stream = UnixStream::from(socket);
    // Identifier, unit, priority, priorities in lines; then, to forward to:
    // syslog, the kernel's log, the host's console.
    write!(stream, "{identifier}\n{unit}\n{PRIORITY}\n0\n0\n0\n0\n")?;
    stream.shutdown(Shutdown::Read)?;
    // More than the host's default needs a privilege, and may be refused.
    let _ = setsockopt(&stream, SndBufForce, &BUFFER);
    Ok(stream.into())
}
