//! The command's side of a session: starts the helper, then passes bytes
//! between the user and the program until it ends.

use std::ffi::OsStr;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::{Pid, setpgid};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use shared::link::{Link, RecvError};
use shared::outcome::Outcome;
use signal_hook::consts::SIGWINCH;
use signal_hook::low_level;

use crate::error::{Error, Kind, Result};
use crate::exhausted;
use crate::runtime;
use crate::sys::{self, Cloned, signals};

use super::Session;
use super::gate::{self, Outside};
use super::inside::{self, FromInside, Step};
use super::join::Target;
use super::program::Program;
use super::pump::Pump;
use super::raw::RawTerminal;
use super::signals::Signals;
use super::streams::{self, Pipes};

/// So long after a signal a program's end is still one by it, however it ends.
const ORDERLY: Duration = Duration::from_secs(5);

/// So many milliseconds a program is waited for that begins in the moment of a signal.
const MOMENT: u8 = 100;

/// Messages from inside that are taken at once.
const TURN: usize = 16;

/// Runs the session; returns how its program ended. `warn` is given what the
/// user should know meanwhile.
pub fn run(target: &Target, session: &Session, warn: &dyn Fn(String)) -> Result<Outcome> {
    let fail = |error: io::Error| {
        Error::os(format_args!("cannot open a session in guest '{}'", target.name), error)
    };
    let terminal = streams::has_terminal();
    let (ours, theirs) = runtime::pair().map_err(fail)?;
    let pipes = if terminal { None } else { Some(Pipes::new().map_err(fail)?) };
    let (inside, outside) = pipes.map_or((None, None), |p| (Some(p.inside), Some(p.outside)));
    let helper = match sys::fork().map_err(fail)? {
        Cloned::Child => {
            drop((ours, outside));
            help(target, session, theirs, inside);
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    drop((theirs, inside));
    let link = Link::new(ours);
    let signals = Signals::catch().map_err(fail)?;
    let mut relay = Relay {
        target,
        session,
        link,
        warn,
        signals,
        raw: None,
        is_hung_up: false,
        told: None,
        outcome: None,
    };
    let end = relay.run(outside, fail);
    drop(relay.raw.take());
    if let Ok(End::Signal(signal)) = end {
        relay.call_off(signal);
        // Whoever waits for this command sees what has ended it.
        let _ = low_level::emulate_default_handler(signal);
    }
    let _ = waitid(WaitId::PidFd(helper.as_fd()), WaitIdOptions::EXITED);
    end.map(End::outcome)
}

/// The helper: joins the guest, becomes the user, has a child there, and
/// tells its end.
fn help(target: &Target, session: &Session, socket: OwnedFd, pipes: Option<[OwnedFd; 3]>) -> ! {
    let host: Link<FromInside, ()> = Link::new(socket);
    // Keys of the terminal are for the command, which passes them on; without this one
    // nobody could be told how the program ends.
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    if let Err((step, error)) = join_and_run(target, session, &host, pipes) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let _ = host.send(&FromInside::Failed { step, errno });
        sys::exit_now(125);
    }
    sys::exit_now(0)
}

fn join_and_run(
    target: &Target,
    session: &Session,
    host: &Link<FromInside, ()>,
    pipes: Option<[OwnedFd; 3]>,
) -> Result<(), (Step, io::Error)> {
    target.join().map_err(|error| (Step::Join, error))?;
    let prepared = inside::prepare(session, target, host, pipes)?;
    let mut leaf = match &target.leaf {
        Ok(leaf) => Some(leaf),
        Err(outside) => {
            let _ = host.send(&FromInside::Outside(*outside));
            None
        }
    };
    // From the fork on the guest sees the child, and may look into it. The
    // leaf is the guest's already.
    let beside = &target.beside;
    let others = [beside.as_fd(), host.as_fd()];
    let kept: Vec<_> = leaf.iter().map(|leaf| leaf.as_fd()).chain(others).collect();
    sys::close_all_but(&kept).map_err(|error| (Step::Fork, error))?;
    // Whoever has started the command may have ended it meanwhile.
    let is_wanted = || !matches!(host.recv(), Err(RecvError::Closed));
    loop {
        let (gate, childs) = gate::new(leaf.is_some()).map_err(|error| (Step::Fork, error))?;
        let child = match sys::fork().map_err(|error| (Step::Fork, error))? {
            Cloned::Child => {
                drop(gate);
                inside::run(session, &prepared, host, (leaf, beside), childs);
            }
            Cloned::Parent { pid, pidfd } => Program { pid, pidfd },
        };
        drop(childs);
        if gate.open(is_wanted) {
            let _ = host.send_with_fds(&FromInside::Begun, &[child.pidfd.as_fd()]);
            let outcome = child.wait().unwrap_or(Outcome::Exited(125));
            let _ = host.send(&FromInside::Ended(outcome));
            return Ok(());
        }
        gate::give_up(&child.pidfd);
        if leaf.take().is_none() || !is_wanted() {
            return Err((Step::Begin, io::Error::from_raw_os_error(libc::ETIMEDOUT)));
        }
        let _ = host.send(&FromInside::Outside(Outside::Frozen));
    }
}

struct Relay<'a> {
    target: &'a Target,
    session: &'a Session,
    link: Link<(), FromInside>,
    warn: &'a dyn Fn(String),
    signals: Signals,
    /// The user's terminal, while it is the session's.
    raw: Option<RawTerminal>,
    /// The session's terminal was taken from it.
    is_hung_up: bool,
    /// The last signal that the program was sent, and when.
    told: Option<(i32, Instant)>,
    outcome: Option<Outcome>,
}

/// What has ended a session.
enum End {
    /// Its program's own end.
    Program(Outcome),
    /// A signal that isn't the program's any more, or not yet: it does what it does to
    /// any command.
    Signal(i32),
}

impl End {
    fn outcome(self) -> Outcome {
        match self {
            Self::Program(outcome) => outcome,
            Self::Signal(signal) => Outcome::Killed(signal as u8),
        }
    }
}

impl Relay<'_> {
    fn run(
        &mut self,
        pipes: Option<[OwnedFd; 3]>,
        fail: impl Fn(io::Error) -> Error,
    ) -> Result<End> {
        let resized = signals::pipe_of(&[SIGWINCH]).map_err(&fail)?;
        let mut wants_terminal = pipes.is_none();
        let mut pumps = match pipes {
            Some(outside) => Pump::of_pipes(outside).map_err(&fail)?,
            None => Vec::new(),
        };
        loop {
            self.wait(&pumps, &resized);
            // A second one would make what the first has made raw the way it was before.
            if let Some(master) = self.hear()?
                && mem::take(&mut wants_terminal)
            {
                self.raw = Some(RawTerminal::begin());
                copy_size(master.as_fd());
                pumps = Pump::of_terminal(master).map_err(&fail)?;
            }
            if signals::has_come(&resized)
                && let Some(pump) = pumps.first()
            {
                copy_size(pump.to.as_fd());
            }
            for pump in &mut pumps {
                pump.turn();
            }
            if let Some(signal) = self.pass_on() {
                return Ok(End::Signal(signal));
            }
            // The user's terminal is gone, or this is to end: so is the session's, whose
            // programs get SIGHUP. Whoever started this may have ignored that signal.
            let is_lost = || pumps.first().is_some_and(Pump::is_at_end);
            if self.raw.is_some() && (self.told.is_some() || is_lost()) {
                pumps.clear();
                self.is_hung_up = true;
                self.raw = None;
            }
            if let Some(outcome) = self.outcome {
                let told = ended_by(self.told, outcome);
                for pump in pumps.iter_mut().filter(|pump| pump.outward) {
                    if let Some(signal) = pump.finish(&self.signals, told) {
                        return Ok(End::Signal(signal));
                    }
                }
                // Before anything is said of a failure.
                self.raw = None;
                return match pumps.iter().find_map(|pump| pump.failure) {
                    Some(failure) => Err(failure.explain(&self.target.name, outcome)),
                    None => Ok(End::Program(outcome)),
                };
            }
        }
    }

    /// Sends the program the signals that have come; returns one that isn't its. A program
    /// that stays when its terminal has gone holds nobody who says so a second time.
    fn pass_on(&mut self) -> Option<i32> {
        for signal in self.signals.take() {
            if self.is_hung_up || !self.signals.pass_on(signal) {
                return Some(signal);
            }
            self.told = Some((signal, Instant::now()));
        }
        None
    }

    /// A signal has come before the program has begun, which it doesn't any more; one that
    /// does in this very moment gets the signal.
    fn call_off(&mut self, signal: i32) {
        if self.is_hung_up {
            return;
        }
        let _ = shutdown(self.link.as_fd().as_raw_fd(), Shutdown::Write);
        while self.outcome.is_none() && !self.signals.pass_on(signal) {
            let mut fds = [PollFd::new(self.link.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(MOMENT)) != Ok(1) || self.hear().is_err() {
                return;
            }
        }
    }

    fn wait(&self, pumps: &[Pump], resized: &OwnedFd) {
        let mut fds = vec![
            PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
            PollFd::new(resized.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.signals.watch());
        fds.extend(pumps.iter().filter_map(Pump::watch));
        let _ = poll(&mut fds, PollTimeout::NONE);
    }

    /// Takes messages from inside; a pty's master if one came.
    fn hear(&mut self) -> Result<Option<OwnedFd>> {
        for _ in 0..TURN {
            match self.link.recv_with_fds(sys::adopt) {
                Ok((FromInside::Terminal, fds)) => return Ok(fds.into_iter().next()),
                Ok((FromInside::Begun, fds)) => self.signals.begin(fds.into_iter().next()),
                Ok((FromInside::Failed { step, errno }, _)) => {
                    return Err(self.explain(step, errno));
                }
                Ok((FromInside::Outside(outside), _)) => self.warn_of(outside),
                Ok((FromInside::Ended(outcome), _)) => self.outcome = Some(outcome),
                Err(RecvError::Empty) => return Ok(None),
                // The helper was killed, with the guest.
                Err(_) if self.outcome.is_none() => {
                    self.outcome = Some(Outcome::Killed(9));
                    return Ok(None);
                }
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// In lines that begin at the left again, which a raw terminal's don't.
    fn warn_of(&mut self, outside: Outside) {
        let was_raw = self.raw.take().is_some();
        (self.warn)(outside.explain(self.target.name.as_str()));
        self.raw = was_raw.then(RawTerminal::begin);
    }

    fn explain(&self, step: Step, errno: i32) -> Error {
        let name = &self.target.name;
        let cause = io::Error::from_raw_os_error(errno);
        let program = match &self.session.command {
            Some(command) => command.first().map_or(OsStr::new(""), |word| word.as_os_str()),
            None => OsStr::new("login shell"),
        };
        let what = match step {
            Step::Join => format!("cannot join guest '{name}'"),
            Step::Fork => format!("cannot fork in guest '{name}'"),
            Step::Terminal => format!("cannot open a terminal in guest '{name}'"),
            Step::User => {
                let user = self.session.user.as_deref().unwrap_or("root");
                return Error::new(format!("guest '{name}' has no user '{user}'"));
            }
            Step::Range => {
                let user = self.session.user.as_deref().unwrap_or("root");
                return Error::new(format!("guest '{name}' can't have a user '{user}'"))
                    .hint("numbers of users inside are 0 to 65535");
            }
            Step::Identity => format!("cannot become the user in guest '{name}'"),
            Step::Begin => format!("a program can't begin in guest '{name}'"),
            Step::Execute => {
                format!("cannot execute '{}' in guest '{name}'", program.display())
            }
        };
        let kind = match (step, errno) {
            (Step::Execute, libc::ENOENT) => Kind::CommandNotFound,
            (Step::Execute, _) => Kind::CannotExecute,
            _ => Kind::Failed,
        };
        let error = Error::of(kind, format!("{what}: {cause}"));
        match (step, errno) {
            (Step::Terminal, libc::ENOSPC) => error.hint(format!(
                "it has all the terminals that it may have; without one it can be looked into: \
                 vserver exec {name} -- ps aux </dev/null | cat"
            )),
            (Step::Fork, errno) => match exhausted::of_fork(name, errno) {
                Some(hint) => error.hint(hint),
                None => error,
            },
            _ => error,
        }
    }
}

fn copy_size(master: BorrowedFd<'_>) {
    if let Ok(size) = sys::window_size(io::stdin().as_fd()) {
        let _ = sys::set_window_size(master, size);
    }
}

/// The signal that has ended a program which was `told` to end by one. One that it has
/// survived, as many a program does the key that interrupts, has not.
fn ended_by(told: Option<(i32, Instant)>, outcome: Outcome) -> Option<i32> {
    let (signal, at) = told?;
    let is_its_end = outcome == Outcome::Killed(signal as u8) || at.elapsed() < ORDERLY;
    is_its_end.then_some(signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::{SIGINT, SIGTERM};

    #[test]
    fn a_signal_that_a_program_survives_is_not_its_end() {
        let (now, before) = (Instant::now(), Instant::now().checked_sub(ORDERLY * 2));
        let before = before.expect("the host runs for longer");
        assert_eq!(ended_by(None, Outcome::Killed(15)), None);
        assert_eq!(ended_by(Some((SIGTERM, now)), Outcome::Exited(0)), Some(SIGTERM));
        assert_eq!(ended_by(Some((SIGTERM, before)), Outcome::Killed(15)), Some(SIGTERM));
        assert_eq!(ended_by(Some((SIGINT, before)), Outcome::Killed(15)), None);
        assert_eq!(ended_by(Some((SIGINT, before)), Outcome::Exited(0)), None);
    }
}
