//! What a guest's own init says of itself: systemd as PID 1 has a socket for it
//! (`NOTIFY_SOCKET`, sd_notify(3)), which the keeper holds, so that nothing is
//! lost while there is no supervisor. Whoever is root in the guest may say the
//! same: it is a statement about the guest by the guest, and no more is done
//! with it.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recv, recvmsg};
use rustix::process::{Signal, pidfd_send_signal, set_parent_process_death_signal};
use shared::message::{GuestState, Power};

use crate::control::{Event as Told, Phase};
use crate::sys::{self, Cloned};

use super::Supervisor;
use super::dying::has_ended_by;
use super::hearing::beginning;
use super::keeper::Keeper;
use super::state::Event;

/// Longest message that is read; the rest of a longer one is dropped.
const LONGEST: usize = 4096;

/// How long descriptors may take to go in peace.
const DROPPING: Duration = Duration::from_millis(100);

/// How long it may take to end who drops them.
const ENDING: Duration = Duration::from_secs(1);

/// A process is so many messages' worth.
const DROPPING_COSTS: u32 = 100;

/// A message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    ready: bool,
    stopping: bool,
    status: Option<String>,
}

impl Supervisor {
    /// The guest's own init takes over, and will say when it is up. Noted, for
    /// whoever takes over meanwhile.
    pub(super) fn await_own_init(&mut self) {
        self.state.notifies = true;
        self.note_state();
    }

    /// Reads what the guest's own init says. A message is taken away only when
    /// what it says is noted: this process may be killed in between.
    pub(super) fn hear_own_init(&mut self) {
        while self.hearing.take(Instant::now()) {
            let Some(keeper) = &self.keeper else { return self.hearing.give_back() };
            let Some(socket) = keeper.notify() else { return self.hearing.give_back() };
            let Some(seen) = peek(socket) else { return self.hearing.give_back() };
            if seen.sender == keeper.init_pid() {
                self.own_init_says(seen.words);
            }
            let Some(socket) = self.keeper.as_ref().and_then(Keeper::notify) else { return };
            if seen.has_descriptors {
                self.dying.reap();
                match drop_elsewhere(socket) {
                    Ok(None) => {}
                    Ok(Some(dropper)) => {
                        self.dying.add(dropper);
                        return self.own_init_unheard();
                    }
                    Err(error) => {
                        tracing::warn!("cannot take descriptors from the guest: {error}");
                    }
                }
                self.hearing.spend(DROPPING_COSTS);
            } else {
                drop_message(socket);
            }
        }
    }

    /// What it sends can hold up whoever takes it. Up to here it has said what it says.
    fn own_init_unheard(&mut self) {
        tracing::warn!(
            "the guest sends descriptors that can't be dropped; its own init isn't listened to \
             any more"
        );
        let Some(keeper) = &mut self.keeper else { return };
        keeper.shut_notify();
        if keeper.link().is_none() {
            self.left_to_own_init();
        }
    }

    fn own_init_says(&mut self, words: Words) {
        if let Some(status) = words.status {
            self.own_init_shows(&status);
        }
        if words.stopping {
            self.own_init_heeds();
            self.feed(Event::Guest(GuestState::Stopping(Power::PowerOff)));
        } else if words.ready && self.machine.phase() == Phase::Booting {
            self.feed(Event::Guest(GuestState::HandedOver));
        }
    }

    /// systemd says again and again what it waits for. Only what it hasn't waited for
    /// before shows whoever waits for the boot that this goes on.
    fn own_init_shows(&mut self, status: &str) {
        let phase = self.machine.phase();
        let Some(step) = self.guest.steps.next(status) else {
            return self.notifier.still(phase, status);
        };
        self.notifier.progress(phase, status);
        let (name, argument) = (step.to_owned(), String::new());
        self.clients.tell(&Told::ScriptStarted { id: 0, name, argument });
    }
}

/// A message as it lies in the socket.
struct Seen {
    /// Pid of its sender.
    sender: i32,
    words: Words,
    /// Do descriptors come along?
    has_descriptors: bool,
}

/// Takes the next message away, with nothing in it that counts any more.
fn drop_message(socket: BorrowedFd<'_>) {
    let _ = recv(socket.as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT);
}

/// The same in a process of its own, which is killed after a moment: dropping
/// the last reference to a descriptor can wait for as long as its sender likes: a TCP
/// socket with SO_LINGER (socket(7)) until the process is killed, and a file that lies
/// on a file system of the guest's (FUSE) longer. That process comes back.
fn drop_elsewhere(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match sys::fork()? {
        Cloned::Child => {
            if keep_nothing_but(socket).is_ok() {
                drop_message(socket);
            }
            sys::exit_now(0);
        }
        Cloned::Parent { pidfd, .. } => {
            let is_gone = end(&pidfd, |pidfd| {
                let _ = pidfd_send_signal(pidfd, Signal::KILL);
            });
            Ok((!is_gone).then_some(pidfd))
        }
    }
}

/// Gives a child a moment, ends it, and gives it another one. Is it gone?
fn end(child: &OwnedFd, kill: impl FnOnce(&OwnedFd)) -> bool {
    has_ended_by(child, DROPPING) || {
        kill(child);
        has_ended_by(child, ENDING)
    }
}

/// Nobody takes this process for the supervisor, whose lock and sockets it has, if
/// that is killed meanwhile; then it ends, too.
fn keep_nothing_but(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sys::close_all_but(&[socket])
}

/// The next message, if there is one; it stays.
fn peek(socket: BorrowedFd<'_>) -> Option<Seen> {
    let mut buffer = [0; LONGEST];
    // No room for descriptors: the kernel tells that there are some, and a
    // look takes no reference away.
    let mut control = nix::cmsg_space!(UnixCredentials);
    let mut iov = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK | MsgFlags::MSG_CMSG_CLOEXEC;
    let (length, sender, has_descriptors) = loop {
        let got = match recvmsg::<()>(socket.as_raw_fd(), &mut iov, Some(&mut control), flags) {
            Err(Errno::EINTR) => continue,
            got => got.ok()?,
        };
        let mut sender = 0;
        let mut has_descriptors = got.flags.contains(MsgFlags::MSG_CTRUNC);
        for message in got.cmsgs().into_iter().flatten() {
            match message {
                ControlMessageOwned::ScmCredentials(credentials) => sender = credentials.pid(),
                ControlMessageOwned::ScmRights(fds) => {
                    has_descriptors = true;
                    fds.into_iter().map(sys::adopt).for_each(drop);
                }
                _ => {}
            }
        }
        break (got.bytes, sender, has_descriptors);
    };
    Some(Seen { sender, words: read(buffer.get(..length)?), has_descriptors })
}

/// Reads a message: lines of `NAME=VALUE` (sd_notify(3)).
fn read(message: &[u8]) -> Words {
    let mut words = Words::default();
    for line in String::from_utf8_lossy(message).lines() {
        match line.split_once('=') {
            Some(("READY", "1")) => words.ready = true,
            Some(("STOPPING", "1")) => words.stopping = true,
            Some(("STATUS", text)) => words.status = Some(beginning(text.to_owned())),
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn who_drops_descriptors_has_none_of_the_supervisors() {
        let lock = std::fs::File::open("/dev/null").unwrap();
        let (socket, _other) = crate::runtime::pair().unwrap();
        let is_open = |fd: i32| format!("/proc/self/fd/{fd}");
        let [lock_path, socket_path] = [lock.as_raw_fd(), socket.as_raw_fd()].map(is_open);
        let pidfd = match sys::fork().unwrap() {
            Cloned::Child => {
                let kept = keep_nothing_but(socket.as_fd()).is_ok();
                let dies = rustix::process::parent_process_death_signal();
                let right = [
                    kept,
                    std::fs::symlink_metadata(&lock_path).is_err(),
                    std::fs::symlink_metadata(&socket_path).is_ok(),
                    dies.is_ok_and(|signal| signal == Some(Signal::KILL)),
                ];
                let wrong = right.iter().filter(|is_right| !**is_right).count();
                sys::exit_now(u8::try_from(wrong).unwrap_or(u8::MAX));
            }
            Cloned::Parent { pidfd, .. } => pidfd,
        };
        let end = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
        assert_eq!(end.exit_status(), Some(0));
    }

    #[test]
    fn who_cannot_be_killed_is_not_waited_for() {
        let sleeper = || match sys::fork().unwrap() {
            Cloned::Child => loop {
                std::thread::sleep(Duration::from_secs(60));
            },
            Cloned::Parent { pidfd, .. } => pidfd,
        };
        let child = sleeper();
        let kill = |child: &OwnedFd| pidfd_send_signal(child, Signal::KILL).unwrap();
        let start = Instant::now();
        assert!(!end(&child, |_| {}));
        assert!(start.elapsed() >= DROPPING + ENDING);
        assert!(!has_ended_by(&child, Duration::ZERO));
        kill(&child);
        assert!(has_ended_by(&child, Duration::from_secs(60)));
        assert!(has_ended_by(&child, Duration::ZERO), "it is gone for good");
        // A busy machine needs longer to end one.
        assert!(end(&sleeper(), |child| {
            kill(child);
            let _ = poll(&mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
        }));
    }

    #[test]
    fn messages_are_read_by_lines() {
        let words = read(b"READY=1\nSTATUS=Startup finished in 1s.\nX_OTHER=2");
        let status = Some("Startup finished in 1s.".to_owned());
        assert_eq!(words, Words { ready: true, stopping: false, status });
        assert_eq!(read(b"READY=0\nMAINPID=1\n\xff\0=\n"), Words::default());
        assert!(read(b"STOPPING=1").stopping);
    }
}
