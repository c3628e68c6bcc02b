//! What `vserver top` does to guests: a signal to one process, and the same
//! shutdown as `vserver stop`'s, which the screen doesn't wait for.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use shared::message::Power;
use shared::name::GuestName;

use crate::cli::Shutdown;
use crate::commands::lifecycle;
use crate::error::Result;
use crate::membership;
use crate::paths::Paths;
use crate::top::Signal;

/// Sends a signal, and returns what to say about it.
pub(super) fn send(process: &OwnedFd, signal: Signal) -> String {
    let number = match signal {
        Signal::Term => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    match membership::signal(process, number) {
        Ok(()) => format!("{} was sent", signal.name()),
        Err(error) => format!("cannot send {}: {error}", signal.name()),
    }
}

/// Guests that are being stopped, a thread each. One that is under way when
/// the screen is left goes on: the order is its supervisor's by then.
#[derive(Debug)]
pub(super) struct Stops {
    paths: Paths,
    waker: OwnedFd,
    sender: Sender<(GuestName, Result<bool>)>,
    receiver: Receiver<(GuestName, Result<bool>)>,
}

impl Stops {
    /// None yet. What `waker` is the other end of is written to when a guest
    /// is down.
    pub(super) fn new(paths: &Paths, waker: OwnedFd) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { paths: paths.clone(), waker, sender, receiver }
    }

    /// Stops a guest, within its own time.
    pub(super) fn begin(&self, name: GuestName) {
        let (paths, sender) = (self.paths.clone(), self.sender.clone());
        let waker = self.waker.try_clone();
        thread::spawn(move || {
            let ended = lifecycle::stop(&paths, &name, Power::PowerOff, &Shutdown::default());
            let _ = sender.send((name, ended));
            // A screen that is not woken up looks at its next refresh.
            let _ = waker.map(|waker| nix::unistd::write(waker, &[0]));
        });
    }

    /// Those that have ended since, and what to say about each.
    pub(super) fn ended(&self) -> Vec<(GuestName, String)> {
        let text = |name: &GuestName, ended: Result<bool>| match ended {
            Ok(true) => format!("guest '{name}' is stopped"),
            Ok(false) => format!("guest '{name}' is not running"),
            Err(error) => match error.remedy() {
                Some(remedy) => format!("{error}; {remedy}"),
                None => error.to_string(),
            },
        };
        let said = |(name, ended)| (GuestName::clone(&name), text(&name, ended));
        self.receiver.try_iter().map(said).collect()
    }
}
