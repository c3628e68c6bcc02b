//! PID 1 of a context: takes over what its parents left, tells how commands
//! end, and ends itself when nothing is left.
//!
//! It is a copy of this program that executes nothing, so it works wherever
//! `chcontext` does. Signals from inside don't reach it (pid_namespaces(7)).
//! It holds the lock on the context's entry; descriptors stand at fixed
//! numbers, so that whoever joins can get at the door.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{WaitOptions, wait};
use shared::link::{Link, RecvError};

use crate::context::Registry;
use crate::launch::reduce_capabilities;
use crate::sys;

use super::report::{Failed, FromInside, News, Step, ToReaper, at};
use super::scene::{self, Scene, Set};

/// Number of the descriptor through which commands speak to a reaper.
pub const DOOR: RawFd = 5;

const LOCK: RawFd = 3;
const SERVER: RawFd = 4;
const HOLD: RawFd = 6;

/// Above all fixed numbers.
const SAFE: RawFd = 64;

/// What a reaper is given.
#[derive(Debug)]
pub struct Post {
    /// The locked entry.
    pub lock: Option<OwnedFd>,
    /// The register that it is in.
    pub registry: Option<Registry>,
    /// Where messages arrive.
    pub server: OwnedFd,
    /// Where they are sent.
    pub door: OwnedFd,
    /// It stays until the other end of this is closed.
    pub hold: OwnedFd,
    /// Does it stay when nothing is left?
    pub is_persistent: bool,
}

/// Sets the scene and stays as its PID 1.
pub fn run(ids: Option<(u32, u32)>, scene: &Scene, post: Post, link: &Link<FromInside, ()>) -> ! {
    let (persistent, registry) = (post.is_persistent, post.registry.clone());
    // Not where one of the fixed numbers is.
    let Ok(link) = fcntl_dupfd_cloexec(link, SAFE) else { scene::give_up() };
    let link: Link<FromInside, ()> = Link::new(link);
    match prepare(ids, scene, post) {
        Ok(Set { number, pid_namespace }) => {
            let _ = link.send(&FromInside::Ready { number, pid_namespace });
            // From here on the caller's descriptors, the link among them, are
            // gone, whatever owns them.
            if sys::close_from(HOLD + 1).is_ok() {
                serve(persistent);
                // While the lock is held nobody puts another one there.
                registry.iter().for_each(|registry| registry.remove(number));
            }
            sys::exit_now(0)
        }
        Err((step, error)) => {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            let _ = link.send(&FromInside::Failed { step, errno });
            scene::give_up()
        }
    }
}

/// Up to the point where nothing of the caller's is needed any more but what
/// stands at or below [`HOLD`], and the link.
fn prepare(ids: Option<(u32, u32)>, scene: &Scene, post: Post) -> Result<Set, Failed> {
    if let Some((uid, gid)) = ids {
        scene::map_own_ids(uid, gid)?;
    }
    let set = scene::set(scene)?;
    leave(post).map_err(at(Step::Disconnect))?;
    give_up_power().map_err(at(Step::Capabilities))?;
    Ok(set)
}

/// Gives all capabilities up, out of the bounding set as well: a command that
/// has fewer than its caller (`--secure`) could trace this process and make
/// it execute something.
fn give_up_power() -> io::Result<()> {
    match reduce_capabilities(&[]) {
        // Without CAP_SETPCAP no command's bounding set is less than this.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let none = caps::CapsHashSet::new();
            for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
                caps::set(None, set, &none).map_err(|_| io::Error::last_os_error())?;
            }
            Ok(())
        }
        other => other,
    }
}

/// Leaves whoever typed the command: session, directory, signals, streams.
fn leave(post: Post) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    sys::reset_signals();
    let _ = rustix::thread::set_name(c"context");
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let safe = |fd: OwnedFd| fcntl_dupfd_cloexec(&fd, SAFE);
    let (server, door, hold) = (safe(post.server)?, safe(post.door)?, safe(post.hold)?);
    let lock = match post.lock {
        Some(lock) => safe(lock)?,
        None => fcntl_dupfd_cloexec(&null, SAFE)?,
    };
    for number in 0..3 {
        sys::place_descriptor(fcntl_dupfd_cloexec(&null, SAFE)?, number)?;
    }
    for (fd, number) in [(lock, LOCK), (server, SERVER), (door, DOOR), (hold, HOLD)] {
        sys::place_descriptor(fd, number)?;
    }
    Ok(())
}

fn serve(persistent: bool) {
    let children = SigSet::from(Signal::SIGCHLD);
    let _ = children.thread_block();
    let Ok(ended) = SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK) else { return };
    sys::trim_memory();
    let mut reaper = Reaper {
        door: Link::new(sys::adopt(SERVER)),
        holds: vec![sys::adopt(HOLD)],
        watched: Vec::new(),
    };
    loop {
        reaper.hear();
        let childless = reaper.reap();
        reaper.holds.retain(|hold| !is_closed(hold));
        if childless && reaper.holds.is_empty() && !persistent {
            return;
        }
        let mut fds = vec![
            PollFd::new(reaper.door.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        ];
        // No event is asked for: only the hang-up is awaited.
        fds.extend(reaper.holds.iter().map(|hold| PollFd::new(hold.as_fd(), PollFlags::empty())));
        let _ = poll(&mut fds, PollTimeout::NONE);
        while matches!(ended.read_signal(), Ok(Some(_))) {}
    }
}

fn is_closed(hold: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(hold.as_fd(), PollFlags::empty())];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
}

struct Reaper {
    door: Link<(), ToReaper>,
    /// Pipes of commands that are on their way in.
    holds: Vec<OwnedFd>,
    /// Commands by pid, and where their end is told.
    watched: Vec<(i32, OwnedFd)>,
}

impl Reaper {
    fn hear(&mut self) {
        loop {
            match self.door.recv_with_fds(sys::adopt) {
                Ok((ToReaper::Hold, fds)) => {
                    let mut fds = fds.into_iter();
                    if let (Some(hold), Some(answer)) = (fds.next(), fds.next()) {
                        self.holds.push(hold);
                        News::Held.write(&answer);
                    }
                }
                Ok((ToReaper::Watch(pid), fds)) => {
                    self.watched.extend(fds.into_iter().next().map(|pipe| (pid, pipe)));
                }
                Err(RecvError::Nonsense) => {}
                Err(_) => return,
            }
        }
    }

    /// Takes the statuses of all children that have ended or stopped; true if
    /// none is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) => {
                    if let Some(news) = News::from_wait(status) {
                        self.tell(pid.as_raw_nonzero().get(), news);
                    }
                }
                Ok(None) => return false,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }

    fn tell(&mut self, pid: i32, news: News) {
        // A command says who it is before it can end.
        self.hear();
        for (_, pipe) in self.watched.iter().filter(|(watched, _)| *watched == pid) {
            news.write(pipe);
        }
        if matches!(news, News::Ended(_)) {
            self.watched.retain(|(watched, _)| *watched != pid);
        }
    }
}
