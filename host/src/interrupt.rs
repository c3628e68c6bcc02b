//! A build or a copy that is told to end stops at the next file and leaves nothing.
//!
//! The signal only sets a flag. Whoever works asks [`Interrupt::check`]
//! between two steps and returns its error, so that everything is undone by
//! the same way as after any other error.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::{Error, Result};
use crate::sys::signals;

/// With which processes are told to end.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Has somebody asked this process to end?
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Readable once that is so; `None` where nobody can ask.
    waker: Option<Arc<OwnedFd>>,
}

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP are remembered instead of
    /// killing this process. Those that are ignored stay so.
    ///
    /// # Errors
    /// When the system refuses descriptors or handlers.
    pub fn watch() -> io::Result<Self> {
        Self::by(&SIGNALS)
    }

    fn by(signals: &[i32]) -> io::Result<Self> {
        let mut interrupt = Self::default();
        let heeded = signals::heeded(signals);
        for signal in &heeded {
            signal_hook::flag::register(*signal, Arc::clone(&interrupt.asked))?;
        }
        // First the flag, then the wake.
        if !heeded.is_empty() {
            interrupt.waker = Some(Arc::new(signals::pipe_of(&heeded)?));
        }
        Ok(interrupt)
    }

    /// What is readable once it has been asked to end, for poll(2): that alone doesn't
    /// notice what comes just before it. Ask [`Self::is_asked`] first.
    pub fn watched(&self) -> Option<PollFd<'_>> {
        self.waker.as_ref().map(|waker| PollFd::new(waker.as_fd(), PollFlags::POLLIN))
    }

    /// One that is asked for after a while, for tests.
    #[cfg(test)]
    pub(crate) fn asked_after(pause: std::time::Duration) -> Self {
        let interrupt = Self::default();
        let asked = Arc::clone(&interrupt.asked);
        std::thread::spawn(move || {
            std::thread::sleep(pause);
            asked.store(true, Ordering::Relaxed);
        });
        interrupt
    }

    /// Has it been asked to end?
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// What it was asked for is being done: from now on it counts when it is asked again.
    pub fn answer(&self) {
        // In this order: a waker that nobody had asked for would keep the caller awake.
        self.asked.store(false, Ordering::Relaxed);
        self.waker.as_deref().map(signals::has_come);
    }

    /// # Errors
    /// "interrupted", once it has been asked to end.
    pub fn check(&self) -> Result<()> {
        if self.is_asked() { Err(Error::new("interrupted")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollTimeout, poll};
    use signal_hook::consts::{SIGPIPE, SIGUSR1};
    use signal_hook::low_level::raise;

    fn is_woken(interrupt: &Interrupt) -> bool {
        let mut fds: Vec<_> = interrupt.watched().into_iter().collect();
        poll(&mut fds, PollTimeout::ZERO) == Ok(1)
    }

    #[test]
    fn who_waits_is_woken() {
        let interrupt = Interrupt::by(&[SIGUSR1]).unwrap();
        assert!(!interrupt.is_asked() && !is_woken(&interrupt));
        raise(SIGUSR1).unwrap();
        assert!(interrupt.is_asked() && is_woken(&interrupt));
        interrupt.answer();
        assert!(!interrupt.is_asked() && !is_woken(&interrupt));
        raise(SIGUSR1).unwrap();
        assert!(interrupt.is_asked() && is_woken(&interrupt), "once more");
    }

    #[test]
    fn what_is_ignored_asks_for_nothing() {
        // As Rust's run time has it.
        let interrupt = Interrupt::by(&[SIGPIPE]).unwrap();
        raise(SIGPIPE).unwrap();
        assert!(!interrupt.is_asked() && !is_woken(&interrupt));
    }
}
