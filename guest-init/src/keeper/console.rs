//! The console: drained into ring, log and journal, shown to whoever is attached.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::{read, write};

use super::journal::Journal;
use super::log::Log;
use super::ring::Ring;

/// More clients than an administrator has hands.
const MAX_CLIENTS: usize = 8;

/// While nobody inside has the console open, reading it fails at once and
/// poll(2) never sleeps: look again after this time.
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes handled per turn and source, so that a guest that floods its
/// console doesn't keep the keeper from its other duties.
const TURN: usize = 16;

/// The guest's console.
pub struct Console {
    master: OwnedFd,
    listener: UnixListener,
    clients: Vec<UnixStream>,
    ring: Ring,
    log: Log,
    journal: Journal,
    silent_until: Option<Instant>,
}

impl Console {
    pub fn new(
        master: OwnedFd,
        listener: UnixListener,
        ring: Ring,
        log: Log,
        journal: Journal,
    ) -> Self {
        let _ = fcntl(&master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK));
        Self { master, listener, clients: Vec::new(), ring, log, journal, silent_until: None }
    }

    /// The keeper's side of the pty.
    pub fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Takes new clients there from now on.
    pub fn listen_on(&mut self, listener: UnixListener) {
        self.listener = listener;
    }

    /// Adds what is to be polled; returns how long the console pauses.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) -> Option<Duration> {
        let pause = self.silent_until.map(|at| at.saturating_duration_since(Instant::now()));
        if pause.is_none() {
            fds.push(PollFd::new(self.master.as_fd(), PollFlags::POLLIN));
        }
        fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        fds.extend(self.clients.iter().map(|c| PollFd::new(c.as_fd(), PollFlags::POLLIN)));
        pause
    }

    /// Does what there is to do, without blocking.
    pub fn turn(&mut self) {
        self.accept();
        self.input();
        self.output();
    }

    /// The same at the end of the boot, when nothing more will come: nobody may have
    /// the console open, and something may have been written for all that.
    pub fn last_turn(&mut self) {
        self.silent_until = None;
        self.turn();
    }

    /// A new client first gets what the ring holds.
    fn accept(&mut self) {
        while let Ok((mut client, _)) = self.listener.accept() {
            if client.set_nonblocking(true).is_err() || self.clients.len() >= MAX_CLIENTS {
                continue;
            }
            let mut complete = true;
            self.ring.replay(|piece| complete = complete && client.write_all(piece).is_ok());
            if complete {
                self.clients.push(client);
            }
        }
    }

    /// What clients type. A console that nobody reads swallows it, as a
    /// serial line would.
    fn input(&mut self) {
        let master = &self.master;
        self.clients.retain_mut(|client| {
            let mut buffer = [0u8; 512];
            for _ in 0..TURN {
                match client.read(&mut buffer) {
                    Ok(0) => return false,
                    Ok(length) => {
                        let _ = write(master, buffer.get(..length).unwrap_or_default());
                    }
                    Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
                }
            }
            true
        });
    }

    /// What the guest prints.
    fn output(&mut self) {
        if self.silent_until.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.silent_until = None;
        let mut buffer = [0u8; 4096];
        for _ in 0..TURN {
            match read(&self.master, &mut buffer) {
                Ok(0) | Err(Errno::EIO) => {
                    self.silent_until = Some(Instant::now() + PAUSE);
                    return;
                }
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    self.ring.append(bytes);
                    self.log.append(bytes);
                    self.journal.append(bytes);
                    // A client that doesn't keep up is let go.
                    self.clients.retain_mut(|client| client.write_all(bytes).is_ok());
                }
                Err(_) => return,
            }
        }
    }
}

/// Says something on standard error; nothing to do when that fails.
pub fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
