//! A build or a copy that is told to end stops at the next file and leaves nothing.
//!
//! The signal only sets a flag. Whoever works asks [`Interrupt::check`]
//! between two steps and returns its error, so that everything is undone by
//! the same way as after any other error.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::error::{Error, Result};

/// With which processes are told to end.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Has somebody asked this process to end?
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP are remembered instead of
    /// killing this process.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn watch() -> io::Result<Self> {
        let interrupt = Self::default();
        for signal in SIGNALS {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.asked))?;
        }
        Ok(interrupt)
    }

    /// What is readable once it has been asked to end, for poll(2): that alone doesn't
    /// notice what comes just before it. Ask [`Self::is_asked`] first.
    ///
    /// # Errors
    /// When the system refuses descriptors or handlers.
    pub fn waker(&self) -> io::Result<UnixStream> {
        let (read, write) = UnixStream::pair()?;
        for signal in SIGNALS {
            pipe::register(signal, write.try_clone()?)?;
        }
        Ok(read)
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
        self.asked.store(false, Ordering::Relaxed);
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
    use std::io::Read;

    #[test]
    fn who_waits_is_woken() {
        let interrupt = Interrupt::watch().unwrap();
        let mut waker = interrupt.waker().unwrap();
        waker.set_nonblocking(true).unwrap();
        assert!(!interrupt.is_asked() && waker.read(&mut [0]).is_err());
        signal_hook::low_level::raise(SIGINT).unwrap();
        assert!(interrupt.is_asked());
        assert_eq!(waker.read(&mut [0]).unwrap(), 1);
    }
}
