//! The supervisor's connection to the keeper, and what came over it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockType;
use rustix::fs::{FileType, Stat, fstat, makedev};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use shared::keeper::{FromKeeper, HANDED, KEEPER_PROTOCOL, ToKeeper, fd};
use shared::link::{Link, RecvError, SendError};
use shared::message::{FromGuest, ToGuest};
use shared::outcome::Outcome;

use crate::launch::Kept;
use crate::membership;
use crate::runtime::{self, RunDir};
use crate::sys;

use super::dying::Dying;

/// What a keeper calls itself (prctl(2), `PR_SET_NAME`).
const COMM: &str = "vserver-keeper";

/// A keeper answers at once: it never waits for the guest.
const PATIENCE: Duration = Duration::from_secs(10);

/// A guest's keeper.
#[derive(Debug)]
pub struct Keeper {
    socket: Link<ToKeeper, FromKeeper>,
    link: Option<Link<ToGuest, FromGuest>>,
    /// Socket of the guest's own init.
    notify: Option<OwnedFd>,
    /// Is nothing read there any more?
    is_notify_shut: bool,
    /// What it holds besides, for one that would take its place.
    console: Option<OwnedFd>,
    programs: [Option<OwnedFd>; 2],
    pid: i32,
    init_pid: i32,
    /// Refers to PID 1.
    init: OwnedFd,
    /// Refers to the keeper. It may be this process's child, also after an exec.
    process: Option<OwnedFd>,
    ended: bool,
}

/// What the keeper says.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing new.
    Nothing,
    /// PID 1 has ended.
    Ended(Outcome),
    /// PID 1 has ended, and nobody is there who knows how.
    EndedUnseen,
    /// The keeper has died.
    Lost,
}

/// The keeper of a guest that runs, if there is one that speaks this version.
///
/// # Errors
/// When there is one that can't be talked to: it must not be taken for dead,
/// or a guest that runs would be killed.
pub fn find(run: &RunDir) -> io::Result<Option<Keeper>> {
    match connect(run) {
        Ok(keeper) => Ok(Some(keeper)),
        Err(error) => match error.raw_os_error() {
            // Nobody listens, or it ended before it said anything, or it is of
            // another version.
            Some(libc::ENOENT | libc::ECONNREFUSED | libc::ECONNRESET | libc::EPROTO) => Ok(None),
            // Whatever this process lacks, there is none.
            _ if !run.keeper().exists() => Ok(None),
            _ => Err(error),
        },
    }
}

/// Connects to a keeper that has just been started.
///
/// # Errors
/// ETIMEDOUT or EPROTO when it doesn't answer as a keeper does.
pub fn connect(run: &RunDir) -> io::Result<Keeper> {
    // Those before may have gone without having been served.
    let socket = runtime::connect_within(&run.keeper(), SockType::SeqPacket, Some(PATIENCE))?;
    let socket: Link<ToKeeper, FromKeeper> = Link::new(socket);
    let deadline = Instant::now() + PATIENCE;
    let (hello, fds) = loop {
        match socket.recv_with_fds(sys::adopt) {
            Ok(received) => break received,
            Err(RecvError::Empty) => wait_readable(socket.as_fd(), deadline)?,
            Err(_) => return Err(io::Error::from_raw_os_error(libc::ECONNRESET)),
        }
    };
    let FromKeeper::Hello { protocol: KEEPER_PROTOCOL, pid, init_pid } = hello else {
        return Err(io::Error::from_raw_os_error(libc::EPROTO));
    };
    let all =
        <[_; HANDED]>::try_from(fds).map_err(|_| io::Error::from_raw_os_error(libc::EPROTO))?;
    let [link, console, notify, init, lookup, forks] = all.map(Some).map(|fd| fd.filter(is_there));
    Ok(Keeper {
        socket,
        link: link.map(Link::new),
        notify,
        is_notify_shut: false,
        console,
        programs: [lookup, forks],
        pid,
        init_pid,
        init: init.ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO))?,
        process: membership::open(pid).ok(),
        ended: false,
    })
}

/// In place of what there isn't comes `/dev/null`.
fn is_there(fd: &OwnedFd) -> bool {
    let is_null = |found: Stat| {
        FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
            && found.st_rdev == makedev(1, 3)
    };
    !fstat(fd).is_ok_and(is_null)
}

fn wait_readable(fd: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
        Ok(0) => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes from a keeper what it holds, as far as it is there, and ends it: one that
/// nobody can talk to, for want of a name in the file system or of a common version.
/// `is_it` tells whether that pid is one's still.
///
/// # Errors
/// Those of pidfd_open(2); ENOENT if it is none. A launcher is ended as well.
pub fn strip(pid: i32, init: &OwnedFd, is_it: impl Fn() -> bool) -> io::Result<Kept> {
    let keeper = membership::open(pid)?;
    if !is_it() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let is_one = fs::read_to_string(format!("/proc/{pid}/comm"))?.trim_end() == COMM;
    let take = |number| {
        let taken = pidfd_getfd(&keeper, number, PidfdGetfdFlags::empty());
        taken.ok().filter(is_there)
    };
    let kept = Kept {
        link: take(fd::LINK),
        console: take(fd::CONSOLE),
        notify: take(fd::NOTIFY),
        init: init.try_clone()?,
        lookup: take(fd::LOOKUP),
        forks: take(fd::FORKS),
    };
    sys::signal_by_descriptor(keeper.as_fd(), libc::SIGKILL)?;
    // It may be another process's child.
    wait_readable(keeper.as_fd(), Instant::now() + PATIENCE)?;
    if is_one { Ok(kept) } else { Err(io::ErrorKind::NotFound.into()) }
}

impl Keeper {
    /// Host pid of the guest's PID 1.
    pub fn init_pid(&self) -> i32 {
        self.init_pid
    }

    /// Pid of the keeper.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// PID 1 itself.
    pub fn init(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }

    /// Without the link: guest-init is of a version that says other things by the same
    /// bytes. It stays open at its end.
    pub fn unlinked(mut self) -> Self {
        self.link = None;
        self
    }

    /// The link to guest-init, while it is open.
    pub fn link(&self) -> Option<&Link<ToGuest, FromGuest>> {
        self.link.as_ref()
    }

    /// The socket on which the guest's own init says that it is up, while it is
    /// listened to.
    pub fn notify(&self) -> Option<BorrowedFd<'_>> {
        self.notify.as_ref().filter(|_| !self.is_notify_shut).map(AsFd::as_fd)
    }

    /// Reads no more there. It stays open: what lies in it would go with it.
    pub fn shut_notify(&mut self) {
        self.is_notify_shut = true;
    }

    /// guest-init has closed its end.
    pub fn forget_link(&mut self) {
        self.link = None;
    }

    /// Sends to guest-init; when that fails, deadlines do the rest.
    pub fn tell_guest(&self, message: &ToGuest) {
        let sent = self.link.as_ref().map_or(Ok(()), |link| link.send(message));
        match sent {
            // The guest's own init has taken over, or there is none any more.
            Ok(()) | Err(SendError::Closed) => {}
            Err(error) => tracing::warn!(?error, "cannot tell guest-init"),
        }
    }

    /// Reads what the keeper says.
    pub fn hear(&mut self) -> Heard {
        loop {
            match self.socket.recv() {
                Ok(FromKeeper::Ended(outcome)) if !self.ended => {
                    self.ended = true;
                    return Heard::Ended(outcome);
                }
                Ok(FromKeeper::EndedUnseen) if !self.ended => {
                    self.ended = true;
                    return Heard::EndedUnseen;
                }
                Ok(_) | Err(RecvError::Nonsense) => {}
                Err(RecvError::Empty) => return Heard::Nothing,
                Err(_) if self.ended => return Heard::Nothing,
                Err(_) => {
                    self.ended = true;
                    return Heard::Lost;
                }
            }
        }
    }

    /// Has it take supervisors and console clients there from now on.
    ///
    /// # Errors
    /// When it can't be told.
    pub fn listen_on(&self, supervisors: &OwnedFd, consoles: &OwnedFd) -> io::Result<()> {
        let sent =
            self.socket.send_with_fds(&ToKeeper::Listen, &[supervisors.as_fd(), consoles.as_fd()]);
        sent.map_err(|_| io::Error::from_raw_os_error(libc::EPIPE))
    }

    /// Has PID 1 ended?
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits for the end of a keeper that was killed.
    pub fn reap(self, dying: &mut Dying) {
        let _ = self.bequeath(dying);
    }

    /// Waits for the end of a keeper that was killed; what it held.
    pub fn bequeath(self, dying: &mut Dying) -> Kept {
        self.process.into_iter().for_each(|keeper| dying.bury(keeper));
        let [lookup, forks] = self.programs;
        let link = self.link.map(Link::into_fd);
        Kept { link, console: self.console, notify: self.notify, init: self.init, lookup, forks }
    }

    /// Lets the keeper go, now that the end of PID 1 is known, and waits for
    /// its end.
    pub fn release(self, dying: &mut Dying) {
        let _ = self.socket.send(&ToKeeper::Release);
        let deadline = Instant::now() + PATIENCE;
        // It closes its end when it exits.
        loop {
            match self.socket.recv() {
                Ok(_) | Err(RecvError::Nonsense) => {}
                Err(RecvError::Empty) => {
                    if wait_readable(self.socket.as_fd(), deadline).is_err() {
                        tracing::warn!(pid = self.pid, "the keeper doesn't end");
                        let _ = sys::kill(self.pid, libc::SIGKILL);
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        self.process.into_iter().for_each(|keeper| dying.bury(keeper));
    }
}

impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
