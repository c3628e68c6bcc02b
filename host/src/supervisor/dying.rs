//! Children that were killed and haven't ended: they wait for a disk, or drop what holds
//! them up. One that nobody looks at again would be left of them, as long as this process
//! is there.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// So long one may take to end when it has been killed.
pub const BURIAL: Duration = Duration::from_secs(5);

/// Those that are there still.
#[derive(Debug, Default)]
pub struct Dying(Vec<OwnedFd>);

impl Dying {
    /// Remembers one.
    pub fn add(&mut self, child: OwnedFd) {
        self.0.push(child);
    }

    /// Waits for the end of one that was killed, or remembers it.
    pub fn bury(&mut self, child: OwnedFd) {
        if !has_ended_by(&child, BURIAL) {
            self.add(child);
        }
    }

    /// Reaps those that have ended by now.
    pub fn reap(&mut self) {
        self.0.retain(|child| !has_ended_by(child, Duration::ZERO));
    }
}

/// Is a child gone within that time?
pub fn has_ended_by(child: &OwnedFd, time: Duration) -> bool {
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
    let _ = poll(&mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)], timeout);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    !matches!(waitid(WaitId::PidFd(child.as_fd()), options), Ok(None))
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, pidfd_send_signal};

    use super::*;
    use crate::sys::{self, Cloned};

    #[test]
    fn who_ends_later_leaves_no_zombie() {
        let (pid, pidfd) = match sys::fork().unwrap() {
            Cloned::Child => loop {
                std::thread::sleep(Duration::from_secs(60));
            },
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
        };
        let is_there = || std::fs::exists(format!("/proc/{pid}")).unwrap();
        let handle = pidfd.try_clone().unwrap();
        let mut dying = Dying::default();
        dying.add(pidfd);
        dying.reap();
        assert_eq!(dying.0.len(), 1, "it lives");
        pidfd_send_signal(&handle, Signal::KILL).unwrap();
        let ended = &mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
        poll(ended, PollTimeout::NONE).unwrap();
        assert!(is_there());
        dying.reap();
        assert!(dying.0.is_empty() && !is_there());
    }
}
