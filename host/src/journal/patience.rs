//! A journal that takes nothing is not waited for: the guests of a supervisor
//! that stands still can't be stopped.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// A message that isn't taken within this time is lost. journald is back
/// sooner after a restart, during which systemd keeps its socket.
const LIMIT: Duration = Duration::from_secs(3);

/// Does what opens sockets that nobody gets at afterwards, and sees to it that
/// nothing sent over them waits longer than a moment (`SO_SNDTIMEO`,
/// socket(7)). Threads that open sockets meanwhile get the same. Where that
/// can't be done, what was opened stays as it is.
pub fn bounded<T>(open: impl FnOnce() -> T) -> T {
    let before = sockets();
    let opened = open();
    let _ = before.and_then(|before| bound_others(&before));
    opened
}

fn bound_others(known: &BTreeMap<RawFd, PathBuf>) -> io::Result<()> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    for (fd, _) in sockets()?.into_iter().filter(|(fd, inode)| known.get(fd) != Some(inode)) {
        // Another descriptor of the same socket: options are the socket's.
        let socket: OwnedFd = pidfd_getfd(&own, fd, PidfdGetfdFlags::empty())?;
        set_socket_timeout(&socket, Timeout::Send, Some(LIMIT))?;
    }
    Ok(())
}

/// This process's sockets, by their descriptors, with their inodes' names
/// (proc_pid_fd(5)).
fn sockets() -> io::Result<BTreeMap<RawFd, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        let fd = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let (Some(fd), Ok(to)) = (fd, fs::read_link(entry.path())) else { continue };
        if to.to_string_lossy().starts_with("socket:") {
            found.insert(fd, to);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn what_nobody_takes_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let deaf = UnixDatagram::bind(&path).unwrap();
        let sender = bounded(UnixDatagram::unbound).unwrap();
        let timeout = sender.write_timeout().unwrap();
        assert_eq!(timeout, Some(LIMIT));
        let refused = (0..100_000).find_map(|_| sender.send_to(b"words", &path).err());
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
        drop(deaf);
    }
}
