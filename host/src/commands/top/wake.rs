//! The signals that `vserver top` has to do something about: each wakes it
//! up and leaves its number.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::{flag, low_level};

use crate::runtime;

/// What has woken it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// A signal that ends it.
    Ended(i32),
    /// It shall stop, as a job of the shell's.
    Suspended,
    /// It goes on after a stop that nobody announced.
    Continued,
    /// Another size of the screen, a guest that is down, or nothing.
    Otherwise,
}

/// Signals since the last look.
#[derive(Debug)]
pub(super) struct Signals {
    read: OwnedFd,
    write: OwnedFd,
    ending: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    going_on: Arc<AtomicBool>,
}

impl Signals {
    /// From now on these signals do nothing by themselves.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub(super) fn watch() -> io::Result<Self> {
        let (read, write) = runtime::pair()?;
        rustix::io::ioctl_fionbio(&read, true)?;
        rustix::io::ioctl_fionbio(&write, true)?;
        let signals = Self {
            read,
            write,
            ending: Arc::default(),
            stopping: Arc::default(),
            going_on: Arc::default(),
        };
        // First the number, then the wake.
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or(0);
            flag::register_usize(signal, Arc::clone(&signals.ending), number)?;
        }
        flag::register(SIGTSTP, Arc::clone(&signals.stopping))?;
        flag::register(SIGCONT, Arc::clone(&signals.going_on))?;
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT, SIGWINCH] {
            low_level::pipe::register(signal, signals.write.try_clone()?)?;
        }
        Ok(signals)
    }

    /// What a thread wakes it up with.
    ///
    /// # Errors
    /// When there are too many descriptors.
    pub(super) fn waker(&self) -> io::Result<OwnedFd> {
        self.write.try_clone()
    }

    /// Is there anything to be taken?
    pub(super) fn any(&self) -> bool {
        self.ending.load(Ordering::Relaxed) != 0 || self.stopping.load(Ordering::Relaxed)
    }

    /// Takes what has come, the most important first.
    pub(super) fn taken(&self) -> Woken {
        let mut bytes = [0; 64];
        while matches!(nix::unistd::read(&self.read, &mut bytes), Ok(count) if count > 0) {}
        if let Ok(signal @ 1..) = i32::try_from(self.ending.load(Ordering::Relaxed)) {
            return Woken::Ended(signal);
        }
        // The stop is this program's own, and what it goes on with as well.
        if self.stopping.swap(false, Ordering::Relaxed) {
            self.going_on.store(false, Ordering::Relaxed);
            return Woken::Suspended;
        }
        match self.going_on.swap(false, Ordering::Relaxed) {
            true => Woken::Continued,
            false => Woken::Otherwise,
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
