//! `SOCK_SEQPACKET` sockets in the run directory.
//!
//! Addresses go through `/proc/self/fd/N/NAME`: a socket's path is limited
//! to 107 bytes (unix(7)), a prefix is not.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, socketpair,
};
use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt;

use crate::sys;

/// Makes a listening socket, replacing what is left of an old one. Once it
/// has its name it takes connections: whoever sees the name appear
/// (inotify(7), `IN_MOVED_TO`) can connect.
///
/// # Errors
/// Those of socket(2), bind(2), listen(2) and rename(2).
pub fn listen(path: &Path, kind: SockType) -> io::Result<OwnedFd> {
    let early = path.with_extension("new");
    match fs::remove_file(&early) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket::socket(AddressFamily::Unix, kind, flags, None)?;
    with_address(&early, |address| socket::bind(listener.as_raw_fd(), address))?;
    socket::listen(&listener, Backlog::new(16)?)?;
    fs::rename(&early, path)?;
    Ok(listener)
}

/// Connects; the connection is non-blocking.
///
/// # Errors
/// ECONNREFUSED or ENOENT when nobody listens.
pub fn connect(path: &Path, kind: SockType) -> io::Result<OwnedFd> {
    connect_within(path, kind, None)
}

/// The same, and waits no longer than this for room in the queue of those that
/// nobody has accepted yet (`SO_SNDTIMEO`, socket(7)).
///
/// # Errors
/// Also EAGAIN when there is none by then.
pub fn connect_within(
    path: &Path,
    kind: SockType,
    patience: Option<Duration>,
) -> io::Result<OwnedFd> {
    let socket = socket::socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, patience)?;
    with_address(path, |address| socket::connect(socket.as_raw_fd(), address))?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Connects, and waits for nothing.
///
/// # Errors
/// Also EAGAIN when as many wait there already as can.
pub fn connect_at_once(path: &Path, kind: SockType) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, kind, flags, None)?;
    with_address(path, |address| socket::connect(socket.as_raw_fd(), address))?;
    Ok(socket)
}

/// Does somebody listen there? What is asked with stays in the queue until that is
/// taken; a full queue is somebody's, too.
///
/// # Errors
/// Those of socket(2), and of connect(2) when it can't be known.
pub fn is_listened_on(path: &Path, kind: SockType) -> io::Result<bool> {
    match connect_at_once(path, kind) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if is_nobodys(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Pid of who listens there.
///
/// # Errors
/// As [`connect_at_once`], and those of getsockopt(2).
pub fn listener(path: &Path, kind: SockType) -> io::Result<i32> {
    let socket = connect_at_once(path, kind)?;
    Ok(socket::getsockopt(&socket, PeerCredentials)?.pid())
}

/// Does nobody listen there (any more)?
pub fn is_nobodys(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ECONNREFUSED))
}

/// Takes a waiting connection; `None` when there is none.
///
/// # Errors
/// Those of accept(2).
pub fn accept(listener: RawFd) -> io::Result<Option<OwnedFd>> {
    match accept4(listener, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
        Ok(fd) => Ok(Some(sys::adopt(fd))),
        Err(Errno::EAGAIN | Errno::ECONNABORTED | Errno::EINTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A connected pair of `SOCK_SEQPACKET` sockets, close-on-exec.
///
/// # Errors
/// Those of socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

fn with_address(path: &Path, act: impl FnOnce(&UnixAddr) -> nix::Result<()>) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), name.display());
    act(&UnixAddr::new(path.as_str())?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_room_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = listen(&path, SockType::SeqPacket).unwrap();
        let patience = Some(Duration::from_millis(1));
        let connect = || connect_within(&path, SockType::SeqPacket, patience);
        let mut queue = Vec::new();
        let error = loop {
            match connect() {
                Ok(socket) => queue.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let is_heard = || is_listened_on(&path, SockType::SeqPacket).unwrap();
        assert!(is_heard(), "however many wait there");
        accept(listener.as_raw_fd()).unwrap().unwrap();
        connect().unwrap();
        drop(listener);
        assert!(!is_heard());
        fs::remove_file(&path).unwrap();
        assert!(!is_heard());
    }
}
