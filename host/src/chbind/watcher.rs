//! A process that waits until a chbind's cgroup is empty, and removes it.
//!
//! The command itself replaces its caller, as a prefix of a service's command
//! line has to. So this one stays behind, in the caller's cgroup and nobody's
//! child, with nothing of the caller's open.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::sys::{self, Cloned};

use super::place::Place;

/// Milliseconds after which a cgroup that is busy without having processes is
/// tried again.
const PAUSE: u16 = 20;

/// Starts it. It begins when what is returned is closed in every process:
/// until then the cgroup is still empty. What it is given it holds to its end.
///
/// # Errors
/// Those of pipe(2) and fork(2); then the cgroup has been removed.
pub fn start(place: Place, held: &[BorrowedFd<'_>]) -> io::Result<OwnedFd> {
    let prepare = || -> io::Result<_> {
        let events = File::open(place.directory().join("cgroup.events"))?;
        Ok((events, pipe_with(PipeFlags::CLOEXEC)?))
    };
    let forked = prepare().and_then(|(events, pipes)| Ok((events, pipes, sys::fork()?)));
    match forked {
        Ok((events, (wait, go), Cloned::Child)) => {
            drop(go);
            // The command shall not find a child that it hasn't made.
            if let Ok(Cloned::Child) = sys::fork() {
                watch(&place, &events, &wait, held);
            }
            sys::exit_now(0)
        }
        Ok((_, (_, go), Cloned::Parent { pid, .. })) => {
            let _ = Pid::from_raw(pid).map(|pid| waitpid(Some(pid), WaitOptions::empty()));
            Ok(go)
        }
        Err(error) => {
            let _ = place.remove();
            Err(error)
        }
    }
}

fn watch(place: &Place, events: &File, go: &OwnedFd, held: &[BorrowedFd<'_>]) {
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    let _ = rustix::thread::set_name(c"chbind");
    // Whoever ends all of a service's processes ends the command, too.
    let _ = SigSet::all().thread_block();
    let Ok(null) = File::options().read(true).write(true).open("/dev/null") else { return };
    for number in 0..3 {
        let _ = null.try_clone().map(|null| sys::place_descriptor(null.into(), number));
    }
    let mut kept = vec![events.as_fd(), go.as_fd(), place.as_fd()];
    kept.extend_from_slice(held);
    if sys::close_all_but(&kept).is_err() {
        return;
    }
    sys::trim_memory();
    let _ = poll(&mut [PollFd::new(go.as_fd(), PollFlags::empty())], PollTimeout::NONE);
    loop {
        // Reading first: it is what makes the next change an event (cgroup v2
        // kernel doc, "cgroup.events").
        let is_empty = read(events).contains("populated 0");
        let timeout = match is_empty.then(|| place.remove()) {
            Some(Err(error)) if error.raw_os_error() == Some(libc::EBUSY) => {
                PollTimeout::from(PAUSE)
            }
            Some(_) => return,
            None => PollTimeout::NONE,
        };
        let _ = poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], timeout);
    }
}

fn read(events: &File) -> String {
    let mut bytes = [0; 256];
    let length = events.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
}
