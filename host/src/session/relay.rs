//! The command's side of a session: starts the helper, then passes bytes
//! between the user and the program until it ends.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{Pid, setpgid};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use shared::link::{Link, RecvError};
use shared::name::GuestName;
use shared::outcome::Outcome;
use signal_hook::consts::SIGWINCH;

use crate::error::{Error, Kind, Result};
use crate::exhausted;
use crate::runtime;
use crate::sys::{self, Cloned};

use super::Session;
use super::gate::{self, Outside};
use super::inside::{self, FromInside, Step};
use super::join::Target;
use super::program::Program;
use super::signals::Signals;
use super::streams::{self, Pipes};

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
    let relay = Relay { target, session, link, warn, signals, raw: None, outcome: None };
    let result = relay.run(outside, fail);
    let _ = waitid(WaitId::PidFd(helper.as_fd()), WaitIdOptions::EXITED);
    result
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
        if gate.open() {
            let _ = host.send_with_fds(&FromInside::Begun, &[child.pidfd.as_fd()]);
            let outcome = child.wait().unwrap_or(Outcome::Exited(125));
            let _ = host.send(&FromInside::Ended(outcome));
            return Ok(());
        }
        gate::give_up(&child.pidfd);
        if leaf.take().is_none() {
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
    outcome: Option<Outcome>,
}

impl Relay<'_> {
    fn run(
        mut self,
        pipes: Option<[OwnedFd; 3]>,
        fail: impl Fn(io::Error) -> Error,
    ) -> Result<Outcome> {
        let resized = window_changes().map_err(&fail)?;
        let mut pumps = match pipes {
            Some(outside) => Pump::of_pipes(outside).map_err(&fail)?,
            None => Vec::new(),
        };
        loop {
            self.wait(&pumps, &resized);
            if let Some(master) = self.hear()? {
                self.raw = Some(RawTerminal::new());
                copy_size(master.as_fd());
                pumps = Pump::of_terminal(master).map_err(&fail)?;
            }
            if drained(&resized)
                && let Some(pump) = pumps.first()
            {
                copy_size(pump.to.as_fd());
            }
            for pump in &mut pumps {
                pump.turn();
            }
            let asked = self.signals.take();
            // The user's terminal is gone, or this is to end: so is the session's, whose
            // programs get SIGHUP. Whoever started this may have ignored that signal.
            if self.raw.is_some()
                && (!asked.is_empty() || pumps.first().is_some_and(|typed| typed.from.is_none()))
            {
                pumps.clear();
            } else {
                asked.into_iter().for_each(|signal| self.signals.pass_on(signal));
            }
            if let Some(outcome) = self.outcome {
                for pump in pumps.iter_mut().filter(|pump| pump.outward) {
                    pump.finish();
                }
                drop(self.raw.take());
                return match pumps.iter().find_map(|pump| pump.failure) {
                    Some(failure) => Err(failure.explain(&self.target.name, outcome)),
                    None => Ok(outcome),
                };
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
        loop {
            match self.link.recv_with_fds(sys::adopt) {
                Ok((FromInside::Terminal, fds)) => return Ok(fds.into_iter().next()),
                Ok((FromInside::Begun, fds)) => {
                    fds.into_iter().next().into_iter().for_each(|fd| self.signals.begin(fd));
                }
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
    }

    /// In lines that begin at the left again, which a raw terminal's don't.
    fn warn_of(&mut self, outside: Outside) {
        let was_raw = self.raw.take().is_some();
        (self.warn)(outside.explain(self.target.name.as_str()));
        self.raw = was_raw.then(RawTerminal::new);
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
            Step::Identity if errno == libc::EINVAL => {
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

/// Bytes on their way from one descriptor to another.
struct Pump {
    from: Option<OwnedFd>,
    to: OwnedFd,
    /// Does it lead from the guest to the user?
    outward: bool,
    /// Is a loss on this way one of the session? Not on a terminal, where somebody sees
    /// it, nor of error messages.
    is_told: bool,
    failure: Option<Failure>,
    buffer: Vec<u8>,
}

/// Why not all of what was said has arrived.
#[derive(Clone, Copy)]
enum Failure {
    /// Standard input couldn't be read to its end.
    Input(Errno),
    /// Standard output couldn't be written.
    Output(Errno),
}

impl Failure {
    /// However the program has ended: what it knows isn't all that it has done.
    fn explain(self, name: &GuestName, outcome: Outcome) -> Error {
        let (what, cause) = match self {
            Self::Input(cause) => ("read all of standard input for", cause),
            Self::Output(cause) => ("write to standard output all that comes from", cause),
        };
        let cause = io::Error::from(cause);
        Error::new(format!(
            "cannot {what} the command in guest '{name}', which ended with {outcome}: {cause}"
        ))
    }
}

/// More than a pipe takes at once.
const CHUNK: usize = 16 * 1024;

/// The most that a pipe holds (pipe(7), `/proc/sys/fs/pipe-max-size`).
const LARGEST_PIPE: usize = 1 << 20;

impl Pump {
    fn of_pipes([input, output, errors]: [OwnedFd; 3]) -> io::Result<Vec<Self>> {
        rustix::io::ioctl_fionbio(&input, true)?;
        Ok(vec![
            Self::new(io::stdin().as_fd().try_clone_to_owned()?, input, false).told(),
            Self::new(output, io::stdout().as_fd().try_clone_to_owned()?, true).told(),
            Self::new(errors, io::stderr().as_fd().try_clone_to_owned()?, true),
        ])
    }

    fn of_terminal(master: OwnedFd) -> io::Result<Vec<Self>> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let output = master.try_clone()?;
        Ok(vec![
            Self::new(io::stdin().as_fd().try_clone_to_owned()?, master, false),
            Self::new(output, io::stdout().as_fd().try_clone_to_owned()?, true),
        ])
    }

    fn new(from: OwnedFd, to: OwnedFd, outward: bool) -> Self {
        Self { from: Some(from), to, outward, is_told: false, failure: None, buffer: Vec::new() }
    }

    fn told(self) -> Self {
        Self { is_told: true, ..self }
    }

    fn note(&mut self, failure: Failure) {
        self.failure = self.is_told.then_some(failure);
    }

    fn watch(&self) -> Option<PollFd<'_>> {
        if self.buffer.is_empty() {
            return self.from.as_ref().map(|from| PollFd::new(from.as_fd(), PollFlags::POLLIN));
        }
        Some(PollFd::new(self.to.as_fd(), PollFlags::POLLOUT))
    }

    /// One read or write, if it can be done without waiting.
    fn turn(&mut self) {
        if self.buffer.is_empty() {
            if self.from.as_ref().is_some_and(|from| ready(from.as_fd(), PollFlags::POLLIN)) {
                self.fill();
            }
        } else if ready(self.to.as_fd(), PollFlags::POLLOUT) {
            self.drain();
        }
    }

    /// The program has ended: pass on what it wrote, and no more. Something
    /// that it has left behind may write without end.
    fn finish(&mut self) {
        let mut left = LARGEST_PIPE / CHUNK;
        while !self.buffer.is_empty()
            || left > 0
                && self.from.as_ref().is_some_and(|from| ready(from.as_fd(), PollFlags::POLLIN))
        {
            if self.buffer.is_empty() {
                left = left.saturating_sub(1);
                self.fill();
            } else {
                self.drain();
            }
        }
    }

    fn fill(&mut self) {
        let Some(from) = &self.from else { return };
        let mut chunk = vec![0; CHUNK];
        match nix::unistd::read(from, &mut chunk) {
            Ok(0) => self.close(),
            Ok(length) => {
                chunk.truncate(length);
                self.buffer = chunk;
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(cause) => {
                // EIO is how a terminal says that it is gone, or others'; nohup(1) gives an
                // input that isn't for reading.
                let is_none = cause == Errno::EBADF || cause == Errno::EIO && from.is_terminal();
                if !self.outward && !is_none {
                    self.note(Failure::Input(cause));
                }
                self.close();
            }
        }
    }

    fn drain(&mut self) {
        // What poll(2) allows without waiting is PIPE_BUF bytes.
        let piece = self.buffer.get(..libc::PIPE_BUF.min(self.buffer.len())).unwrap_or_default();
        match nix::unistd::write(&self.to, piece) {
            Ok(length) => drop(self.buffer.drain(..length.min(self.buffer.len()))),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(cause) => {
                self.buffer.clear();
                // Whoever reads may leave when he has enough, as a program may that is
                // given more than it wants.
                if self.outward && cause != Errno::EPIPE {
                    self.note(Failure::Output(cause));
                }
                self.close();
            }
        }
    }

    /// Nothing more comes; the program sees the end of its input.
    fn close(&mut self) {
        self.from = None;
        if !self.outward
            && let Ok(null) = std::fs::File::options().write(true).open("/dev/null")
        {
            self.to = null.into();
        }
    }
}

fn ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let mut fds = [PollFd::new(fd, flags)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
}

/// The user's terminal without echo and editing, until it is dropped.
struct RawTerminal {
    before: Option<Termios>,
}

impl RawTerminal {
    fn new() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &raw);
        }
        Self { before }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

fn copy_size(master: BorrowedFd<'_>) {
    if let Ok(size) = sys::window_size(io::stdin().as_fd()) {
        let _ = sys::set_window_size(master, size);
    }
}

/// A pipe that gets a byte whenever the user's window changes.
fn window_changes() -> io::Result<OwnedFd> {
    let (read, write) = runtime::pair()?;
    rustix::io::ioctl_fionbio(&read, true)?;
    signal_hook::low_level::pipe::register(SIGWINCH, write)?;
    Ok(read)
}

fn drained(pipe: &OwnedFd) -> bool {
    let mut bytes = [0; 64];
    let mut any = false;
    while matches!(nix::unistd::read(pipe, &mut bytes), Ok(n) if n > 0) {
        any = true;
    }
    any
}
