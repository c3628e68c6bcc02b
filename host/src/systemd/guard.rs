//! Starts a supervisor again that was killed, where systemd can't.
//!
//! Before version 254 systemd has no `DelegateSubgroup=`: it starts a unit's
//! process in the unit's own cgroup, and the kernel refuses that (EBUSY) as
//! long as the guest in it has controllers, so that `Restart=` fails with
//! 219/CGROUP (measured with 252). There the unit's first process becomes a
//! guard: it does nothing but wait for its child, the supervisor, which it
//! names as the unit's main process. If the guard is killed, the supervisor
//! takes its place and starts a new one for its own.
//!
//! systemd hears from the guard that the unit isn't stuck, the guard from the
//! supervisor: were it systemd that kills a stuck one, it would want to start the
//! unit again. So the unit has `NotifyAccess=all`, whatever version it is: a guard
//! outlives an upgrade of systemd that has no need of it.

use std::env;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sd_notify::NotifyState;
use shared::name::GuestName;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::manager::look_within;
use super::notify::{barrier, say};
use crate::error::{Error, Result};
use crate::exhausted;
use crate::paths::Paths;
use crate::runtime::{self, RunDir};
use crate::sys::{self, signals};

/// Between the end of a supervisor and the next: the `RestartSec=` of the unit.
const PAUSE: Duration = Duration::from_millis(100);

/// How long systemd may take to hear something.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long its answer is worth while the guest has no supervisor. It comes at once
/// unless systemd is stuck, or the machine very slow.
const ANSWERS: Duration = Duration::from_secs(2);

/// So many in so long a time, and it is given up: `StartLimitBurst=` and
/// `StartLimitIntervalSec=` of the unit.
const MOST: usize = 60;
const WITHIN: Duration = Duration::from_secs(30);

/// How often systemd wants to hear from a unit (sd_watchdog_enabled(3)).
const WATCHDOG: &str = "WATCHDOG_USEC";

/// What a supervisor says that isn't stuck; and one that begins something which
/// may take as long as it does.
const ALIVE: &[u8] = b"alive";
const BUSY: &[u8] = b"busy";

/// How a guard is called.
pub const GUARD: &str = "--guard";

/// How a supervisor that has a guard is called.
pub const GUARDED: &str = "--guarded";

/// Guards supervisors of a guest until one ends by itself, and says with what
/// exit code.
///
/// # Errors
/// When none can be started, or too many have been killed.
pub fn run(paths: &Paths, name: &GuestName) -> Result<u8> {
    let fail = |error: io::Error| {
        Error::os(format_args!("cannot guard the supervisor of guest '{name}'"), error)
    };
    let run = RunDir::new(paths, name);
    let stopping = run.stopping();
    let signals = signals().map_err(fail)?;
    let mut killed: Vec<Instant> = Vec::new();
    let mut lacks_room = false;
    loop {
        // Each hears of the other's end by its end of these.
        let (theirs, ours) = runtime::pair().map_err(fail)?;
        let (signal, mut told) = match spawn(name, theirs) {
            Ok(mut child) => {
                lacks_room = false;
                let _ = say(&[NotifyState::MainPid(child.id())]);
                let (status, told) = wait(&mut child, &signals, &ours).map_err(fail)?;
                if let Some(code) = status.code() {
                    be_main();
                    return Ok(u8::try_from(code).unwrap_or(1));
                }
                (status.signal().unwrap_or_default(), told)
            }
            Err(error) => {
                let error = without_room(name, fail(error));
                // A guest that runs may get one yet.
                if !run.keeper().exists() || killed.len() >= MOST {
                    let _ = say(&[NotifyState::Status(&exhausted::in_a_line(&error))]);
                    be_main();
                    return Err(error);
                }
                if !lacks_room {
                    tracing::warn!("trying again: {error}");
                }
                lacks_room = true;
                (0, false)
            }
        };
        drop(ours);
        // A supervisor that is killed by whoever stops the guest gets no other:
        // that might find nothing any more, and start it anew.
        told |= pause(&signals);
        if told || stopping.exists() {
            // What is left is `ExecStopPost=`'s.
            be_main();
            return Ok(0);
        }
        // systemd has given the unit up (`TimeoutStartFailureMode=kill`), and has
        // started another one that looks after the guest. Of one that doesn't answer no
        // more is known; if it starts that later, it takes the guest from the next.
        if look_within(name, ANSWERS).is_ok_and(|unit| unit.active == "failed") {
            return Ok(0);
        }
        let now = Instant::now();
        killed.retain(|at| now.duration_since(*at) < WITHIN);
        killed.push(now);
        if signal != 0 {
            tracing::warn!(signal, "the supervisor was killed; starting the next");
        }
        if killed.len() > MOST {
            be_main();
            return Err(Error::new(format!(
                "supervisors of guest '{name}' are killed all the time"
            ))
            .hint(format!("the guest goes on, and vserver-adopt@{name}.service looks after it")));
        }
    }
}

/// With the remedy, if there is one.
fn without_room(name: &GuestName, error: Error) -> Error {
    match error.errno().and_then(|errno| exhausted::of_fork(name, errno)) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Lets [`PAUSE`] pass, or until a SIGTERM comes: was there one?
fn pause(signals: &OwnedFd) -> bool {
    let timeout = PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::ZERO);
    let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
    signals::has_come(signals)
}

/// This process's own end is to be that of the unit, with its exit code.
fn be_main() {
    let _ = say(&[NotifyState::MainPid(std::process::id())]);
    let _ = barrier(PATIENCE);
}

/// This program; after an upgrade, what has taken its place.
fn program() -> PathBuf {
    let own = Path::new("/proc/self/exe");
    let path = fs::read_link(own).unwrap_or_default();
    // The kernel marks a file that has been replaced (proc_pid_exe(5)).
    let path = path.to_str().map(|path| path.trim_end_matches(" (deleted)")).unwrap_or_default();
    let path = Path::new(path);
    if path.is_file() { path.to_owned() } else { own.to_owned() }
}

fn spawn(name: &GuestName, guard: OwnedFd) -> io::Result<Child> {
    Command::new(program())
        .arg0("vserver")
        .args(["supervise", GUARDED, name.as_str()])
        .stdin(Stdio::from(guard))
        .spawn()
}

/// Catches what whoever signals all processes of the unit sends this one too
/// (`machinectl kill`): readable after a SIGTERM. SIGINT and SIGHUP mean nothing.
fn signals() -> io::Result<OwnedFd> {
    let terminated = signals::pipe_of(&[SIGTERM])?;
    for signal in [SIGINT, SIGHUP] {
        // Not ignored: that would be inherited.
        signal_hook::flag::register(signal, Arc::default())?;
    }
    Ok(terminated)
}

/// Waits for the supervisor's end, and tells systemd meanwhile that this
/// process isn't stuck. SIGTERM is the supervisor's to hear; whether there was
/// one comes with its status.
fn wait(
    child: &mut Child,
    signals: &OwnedFd,
    supervisor: &OwnedFd,
) -> io::Result<(ExitStatus, bool)> {
    let interval = interval();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let timeout = interval.map_or(PollTimeout::NONE, |interval| {
        PollTimeout::try_from(interval).unwrap_or(PollTimeout::MAX)
    });
    let mut told = false;
    // One that says nothing yet is still on its way.
    let mut heard_at = None;
    let mut turn = Instant::now();
    loop {
        if interval.is_some() {
            let _ = say(&[NotifyState::Watchdog]);
        }
        if let Some(status) = child.try_wait()? {
            return Ok((status, told));
        }
        heard_at = hear(supervisor, heard_at);
        // While this process stood still itself, it has heard nobody.
        if interval.is_some_and(|interval| turn.elapsed() > interval + interval / 2) {
            heard_at = heard_at.map(|_| Instant::now());
        }
        turn = Instant::now();
        if let (Some(at), Some(interval)) = (heard_at, interval)
            && at.elapsed() > interval * 2
        {
            tracing::error!("the supervisor is stuck; killing it");
            let _ = pidfd_send_signal(&process, Signal::KILL);
            heard_at = None;
        }
        if signals::has_come(signals) {
            told = true;
            let _ = sys::signal_by_descriptor(process.as_fd(), SIGTERM);
        }
        let mut fds = [process.as_fd(), signals.as_fd(), supervisor.as_fd()]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let _ = poll(&mut fds, timeout);
    }
}

/// How often who is watched has to say that it isn't stuck, if at all: twice in
/// the time of systemd's watchdog, whichever process that was meant for, since the
/// first guard may have been replaced.
pub fn interval() -> Option<Duration> {
    let watchdog = env::var(WATCHDOG).ok()?.parse().ok()?;
    Some(Duration::from_micros(watchdog) / 2)
}

/// When a supervisor has said last that it isn't stuck; `None` for one that is
/// busy or has said nothing yet.
fn hear(supervisor: &OwnedFd, before: Option<Instant>) -> Option<Instant> {
    let mut heard_at = before;
    let mut word = [0; 8];
    while let Ok(length @ 1..) = recv(supervisor.as_raw_fd(), &mut word, MsgFlags::MSG_DONTWAIT) {
        heard_at = (word.get(..length) != Some(BUSY)).then(Instant::now);
    }
    heard_at
}

/// The supervisor isn't stuck.
pub fn tell(guard: &OwnedFd) {
    let _ = send(guard.as_raw_fd(), ALIVE, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
}

/// The supervisor is not to be waited for until it says that it isn't stuck.
pub fn tell_busy(guard: &OwnedFd) {
    let _ = send(guard.as_raw_fd(), BUSY, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
}

/// Becomes the guard, also in place of one that was killed. The keeper and the lock
/// are let go of by that, and the supervisor that it starts takes them.
pub fn replace(name: &GuestName) -> io::Error {
    let mut command = Command::new(program());
    command.arg0("vserver").args(["supervise", GUARD, name.as_str()]);
    command.stdin(Stdio::null()).exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_busy_is_not_waited_for() {
        let (guard, supervisor) = runtime::pair().unwrap();
        assert!(hear(&guard, None).is_none());
        tell(&supervisor);
        let heard_at = hear(&guard, None);
        assert!(heard_at.is_some());
        assert_eq!(hear(&guard, heard_at), heard_at, "nothing new");
        tell(&supervisor);
        tell_busy(&supervisor);
        assert!(hear(&guard, heard_at).is_none());
        tell(&supervisor);
        assert!(hear(&guard, None).is_some());
    }
}
