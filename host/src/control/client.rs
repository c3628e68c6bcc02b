//! A command's end of the control socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockType;
use shared::link::{Link, RecvError, SendError};
use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runtime::{self, RunDir};

use super::{Event, Request, Snapshot};

/// Longest time a supervisor takes to answer: it never waits for the guest.
/// An administrator's script at start and stop may keep it busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// Longest time until a guest has a new supervisor when several commands see
/// at once that the old one has died.
const SUCCESSION: Duration = Duration::from_secs(10);

/// A connection to a guest's supervisor.
#[derive(Debug)]
pub struct Client {
    name: GuestName,
    link: Link<Request, Event>,
}

impl Client {
    /// Connects to the supervisor of a running guest; `None` when the guest
    /// doesn't run. A guest whose supervisor has died gets a new one.
    ///
    /// # Errors
    /// When the socket can't be used.
    pub fn connect(paths: &Paths, name: &GuestName) -> Result<Option<Self>> {
        let run = RunDir::new(paths, name);
        let deadline = Instant::now() + SUCCESSION;
        loop {
            match runtime::connect(&run.control(), SockType::SeqPacket) {
                Ok(socket) => return Ok(Some(Self::new(name, socket))),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(Error::path("connect to", &run.control(), error)),
            }
            // Not even asked for: a listening socket is proof of a living keeper.
            match runtime::connect(&run.keeper(), SockType::SeqPacket) {
                Ok(probe) => drop(probe),
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(Error::path("connect to", &run.keeper(), error)),
            }
            let (client, _) = spawn_supervisor(name, &[])?;
            match client.status() {
                Ok(_) => return Ok(Some(client)),
                // Another command was faster, and its one is about to listen.
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the supervisor that was just started speaks, so that others
    /// find it. What it says stays to be read.
    pub fn wait_for_word(&self) {
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(self.link.as_fd(), PollFlags::POLLIN)], patience);
    }

    /// Takes over one end of a socket pair whose other end a supervisor has.
    pub fn new(name: &GuestName, socket: OwnedFd) -> Self {
        Self { name: name.clone(), link: Link::new(socket) }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn send(&self, request: &Request) -> Result<()> {
        self.link.send(request).map_err(|error| {
            let errno = match error {
                SendError::Full => Errno::EAGAIN,
                SendError::Closed => Errno::EPIPE,
                SendError::TooLong => Errno::EMSGSIZE,
                SendError::Os(errno) => errno,
            };
            Error::os(format_args!("cannot talk to the supervisor of guest '{}'", self.name), errno)
        })
    }

    /// The next event if there is one: `Some(None)` when the supervisor has
    /// ended.
    ///
    /// # Errors
    /// When the socket can't be read.
    pub fn try_next(&self) -> Result<Option<Option<Event>>> {
        match self.link.recv() {
            Ok(event) => Ok(Some(Some(event))),
            Err(RecvError::Closed) => Ok(Some(None)),
            Err(RecvError::Empty) => Ok(None),
            Err(error) => Err(self.deaf(error)),
        }
    }

    fn deaf(&self, error: RecvError) -> Error {
        let errno = match error {
            RecvError::Os(errno) => errno,
            _ => Errno::EBADMSG,
        };
        Error::os(format_args!("cannot hear the supervisor of guest '{}'", self.name), errno)
    }

    /// Waits for the next event, at most until `deadline`; `None` when the
    /// supervisor has ended.
    ///
    /// # Errors
    /// At the deadline (`ErrorKind::TimedOut` in words), and when the socket
    /// can't be read.
    pub fn next(&self, deadline: Option<Instant>) -> Result<Option<Event>> {
        let fail = |cause: io::Error| {
            Error::os(format_args!("cannot hear the supervisor of guest '{}'", self.name), cause)
        };
        loop {
            match self.link.recv() {
                Ok(event) => return Ok(Some(event)),
                Err(RecvError::Closed) => return Ok(None),
                Err(RecvError::Empty) => {}
                Err(error) => return Err(self.deaf(error)),
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(fail(io::ErrorKind::TimedOut.into()));
            }
            let timeout = left.map_or(PollTimeout::NONE, |left| {
                let left = left.max(Duration::from_millis(1));
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            });
            let mut fds = [PollFd::new(self.link.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(fail(error.into())),
            }
        }
    }

    /// Asks how the guest is. Events that arrive before the answer are lost.
    ///
    /// # Errors
    /// As [`Client::next`]; also when the supervisor ends meanwhile.
    pub fn status(&self) -> Result<Snapshot> {
        self.send(&Request::Status)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(Some(deadline))? {
                Some(Event::Status(snapshot)) => return Ok(*snapshot),
                Some(Event::Failed { text, hint }) => {
                    let error = Error::new(text);
                    return Err(match hint {
                        Some(hint) => error.hint(hint),
                        None => error,
                    });
                }
                Some(_) => {}
                None => return Err(Error::not_running(&self.name)),
            }
        }
    }
}

/// Starts a supervisor in the background, connected to it already: its
/// standard input is the other end of the connection. Returns its pid, too.
///
/// # Errors
/// When the process can't be made.
pub fn spawn_supervisor(name: &GuestName, arguments: &[&str]) -> Result<(Client, u32)> {
    let what = format!("cannot start the supervisor of guest '{name}'");
    let (ours, theirs) = runtime::pair().map_err(|error| Error::os(&what, error))?;
    let child = Command::new("/proc/self/exe")
        .arg("supervise")
        .arg(name.as_str())
        .args(arguments)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Error::os(&what, error))?;
    Ok((Client::new(name, ours), child.id()))
}

/// Nobody listens there (any more).
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ECONNREFUSED))
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
