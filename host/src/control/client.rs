//! A command's end of the control socket.

use std::env;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{SockType, getsockopt};
use shared::link::{RecvError, SendError};
use shared::name::GuestName;

use crate::cgroup::GuestCgroup;
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::runtime::{self, RunDir};
use crate::variables;
use crate::{sys, systemd};

use super::{Event, Request, Snapshot, Unheard, Wire, start_failed, still};

/// Longest time a supervisor takes to answer: it never waits for the guest.
/// An administrator's script at start and stop may keep it busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// After so long without an answer it is looked at whether it can answer at all.
const SILENCE: Duration = Duration::from_secs(2);

/// For the administrator's scripts.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Between two tries to find a guest's supervisor.
const RETRY: Duration = Duration::from_millis(10);

/// So long systemd may take to start a supervisor again that has been killed;
/// then it is asked to.
const RESTARTS: Duration = Duration::from_secs(2);

/// So long, and it is no longer waited for.
const RESTARTED: Duration = Duration::from_secs(5);

/// After so long what keeps supervisors from taking a guest over doesn't pass.
const HOPELESS: Duration = Duration::from_secs(10);

/// So often the next supervisor is asked when one ends before it has answered.
pub const TRIES: u32 = 5;

/// So long a supervisor may take to make its socket again.
const UNHEARD: Duration = Duration::from_secs(15);

/// Supervisors that this process has started. Those that have ended are reaped when it
/// starts another: whoever watches guests may do that for months.
static STARTED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A connection to a guest's supervisor.
#[derive(Debug)]
pub struct Client {
    name: GuestName,
    link: Wire<Request, Event>,
}

impl Client {
    /// Connects to the supervisor of a running guest; `None` when the guest
    /// doesn't run. A guest whose supervisor has died gets a new one, also if its
    /// keeper has died too.
    ///
    /// # Errors
    /// When the socket can't be used.
    pub fn connect(paths: &Paths, name: &GuestName) -> Result<Option<Self>> {
        let run = RunDir::new(paths, name);
        let began = Instant::now();
        let deadline = began + PATIENCE;
        let (mut called, mut asked, mut gone) = (false, false, false);
        let mut said = None;
        loop {
            if let Some(client) = Self::reach(paths, name)? {
                return Ok(Some(client));
            }
            // It listens as soon as it has its lock: its socket was removed.
            if run.has_supervisor() && has_orphans(paths, name) {
                if began.elapsed() > RESTARTS && !called {
                    called = true;
                    run.supervisor().map(|pid| sys::kill(pid, libc::SIGHUP));
                } else if began.elapsed() > UNHEARD {
                    return Err(unheard(&run, name));
                }
                thread::sleep(RETRY);
                continue;
            }
            if !is_there(paths, name)? {
                return Ok(None);
            }
            // systemd starts the next supervisor of a unit's guest by itself.
            if !gone && began.elapsed() < RESTARTED && is_unit(paths, name) {
                if began.elapsed() > RESTARTS && !asked {
                    asked = true;
                    gone = !systemd::revive(name);
                }
                thread::sleep(RETRY);
                continue;
            }
            let client = spawn_supervisor(name, &["--take-over"])?;
            match client.status() {
                Ok(_) => return Ok(Some(client)),
                // Somebody else was quicker, or the guest has just ended.
                Err(error) if Instant::now() < deadline => {
                    said = said.or((error.kind() != Kind::NotRunning).then_some(error));
                    if began.elapsed() > HOPELESS
                        && let Some(said) = said
                    {
                        return Err(said);
                    }
                    thread::sleep(RETRY);
                }
                Err(error) => return Err(said.unwrap_or(error)),
            }
        }
    }

    /// Connects to a supervisor if there is one, and starts none.
    ///
    /// # Errors
    /// When the socket can't be used; when so many wait already for a supervisor
    /// that stands still that there is no room for another one.
    pub fn reach(paths: &Paths, name: &GuestName) -> Result<Option<Self>> {
        let run = RunDir::new(paths, name);
        let path = run.control();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match runtime::connect_within(&path, SockType::SeqPacket, Some(SILENCE)) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    error
                }
                other => {
                    return Ok(heard(&path, other)?.map(|socket| Self::new(name, socket)));
                }
            };
            let pid = run.supervisor();
            pid.and_then(|pid| still::frozen(name, pid)).map_or(Ok(()), Err)?;
            if Instant::now() > deadline {
                let stopped = pid.and_then(|pid| still::stopped(name, pid));
                return Err(stopped.unwrap_or_else(|| Error::path("connect to", &path, error)));
            }
        }
    }

    /// What [`Client::connect`] gives, with how the guest is. A connection that ends before the
    /// answer may be one to a supervisor that was killed a moment ago: only
    /// where there is no other has the guest ended.
    ///
    /// # Errors
    /// As [`Client::connect`] and [`Client::status`].
    pub fn find(paths: &Paths, name: &GuestName) -> Result<Option<(Self, Snapshot)>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(client) = Self::connect(paths, name)? else { return Ok(None) };
            match client.status() {
                Ok(status) => return Ok(Some((client, status))),
                Err(error) if error.kind() == Kind::NotRunning && Instant::now() < deadline => {
                    thread::sleep(RETRY);
                }
                Err(error) if error.kind() == Kind::NotRunning && has_orphans(paths, name) => {
                    return Err(unsettled(name));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What [`Client::ask`] gives, of whichever supervisor the guest has: the next one is
    /// asked again when one ends before it has answered. `None` when the guest doesn't run.
    ///
    /// # Errors
    /// As [`Client::find`] and [`Client::ask`].
    pub fn ask_any(paths: &Paths, name: &GuestName, request: &Request) -> Result<Option<Snapshot>> {
        let mut tries = 0;
        loop {
            let Some((client, _)) = Self::find(paths, name)? else { return Ok(None) };
            match client.ask(request) {
                Err(error) if error.kind() == Kind::NotRunning && tries < TRIES => tries += 1,
                answer => return answer.map(Some),
            }
        }
    }

    /// Takes over one end of a socket pair whose other end a supervisor has.
    pub fn new(name: &GuestName, socket: OwnedFd) -> Self {
        Self { name: name.clone(), link: Wire::new(socket) }
    }

    /// Sends a request. That the supervisor has just gone is no failure here:
    /// it shows as the end of the events, which every caller has to expect.
    ///
    /// # Errors
    /// When the socket can't be used; as [`Client::refuse_own_script`] for what waits for that.
    pub fn send(&self, request: &Request) -> Result<()> {
        if !request.is_answered_meanwhile() {
            self.refuse_own_script()?;
        }
        let errno = match self.link.send(request) {
            Ok(()) | Err(SendError::Closed) => return Ok(()),
            Err(SendError::Full) => Errno::EAGAIN,
            Err(SendError::TooLong) => Errno::EMSGSIZE,
            Err(SendError::Os(errno)) => errno,
        };
        let what = format_args!("cannot talk to the supervisor of guest '{}'", self.name);
        Err(Error::os(what, errno))
    }

    /// To be asked before something is waited for that comes after the administrator's script
    /// only, if this may be called by that: the two would wait for each other.
    ///
    /// # Errors
    /// When it is.
    pub fn refuse_own_script(&self) -> Result<()> {
        if !self.supervisor().is_some_and(still::is_of_script) {
            return Ok(());
        }
        let name = &self.name;
        Err(Error::new(format!(
            "guest '{name}' waits for the end of '{name}.sh', which asks for this"
        ))
        .hint("let it come after the script: systemd-run, at(1)"))
    }

    /// The next event if there is one: `Some(None)` when the supervisor has
    /// ended.
    ///
    /// # Errors
    /// When the socket can't be read.
    pub fn try_next(&self) -> Result<Option<Option<Event>>> {
        match self.link.recv() {
            Ok(event) => Ok(Some(Some(event))),
            Err(Unheard::Link(RecvError::Closed)) => Ok(Some(None)),
            Err(Unheard::Link(RecvError::Empty)) => Ok(None),
            Err(error) => Err(self.deaf(error)),
        }
    }

    fn deaf(&self, error: Unheard) -> Error {
        let name = &self.name;
        let errno = match error {
            Unheard::Version(_) => return Error::other_version(name),
            Unheard::Link(RecvError::Os(errno)) => errno,
            Unheard::Link(_) => Errno::EBADMSG,
        };
        self.silent(errno)
    }

    fn silent(&self, errno: Errno) -> Error {
        Error::os(format_args!("cannot hear the supervisor of guest '{}'", self.name), errno)
    }

    /// Waits for the next event, at most until `deadline`; `None` when the
    /// supervisor has ended.
    ///
    /// # Errors
    /// At the deadline, and when the socket can't be read.
    pub fn next(&self, deadline: Option<Instant>) -> Result<Option<Event>> {
        loop {
            match self.link.recv() {
                Ok(event) => return Ok(Some(event)),
                Err(Unheard::Link(RecvError::Closed)) => return Ok(None),
                Err(Unheard::Link(RecvError::Empty)) => {}
                Err(error) => return Err(self.deaf(error)),
            }
            if !self.speaks_by(deadline)? {
                let stopped = self.supervisor().and_then(|pid| still::stopped(&self.name, pid));
                return Err(stopped.unwrap_or_else(|| self.silent(Errno::ETIMEDOUT)));
            }
        }
    }

    /// Waits for something to read, an end as well; false if there is nothing until then.
    ///
    /// # Errors
    /// When the socket can't be used.
    pub fn speaks_by(&self, deadline: Option<Instant>) -> Result<bool> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // Not a moment too early.
            let timeout = left.map_or(PollTimeout::NONE, |left| {
                let left = left.saturating_add(Duration::from_millis(1));
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            });
            match poll(&mut [PollFd::new(self.link.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if left.is_some_and(|left| !left.is_zero()) => {}
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(self.silent(error)),
            }
        }
    }

    /// Who has made the other end of the socket; not of a pair, whose ends this
    /// process has made.
    fn supervisor(&self) -> Option<i32> {
        let peer = getsockopt(&self.link, PeerCredentials).ok()?.pid();
        u32::try_from(peer).is_ok_and(|peer| peer != std::process::id()).then_some(peer)
    }

    /// Asks how the guest is. Events that arrive before the answer are lost.
    ///
    /// # Errors
    /// As [`Client::next`]; also when the supervisor ends meanwhile.
    pub fn status(&self) -> Result<Snapshot> {
        self.ask(&Request::Status)
    }

    /// Asks for what is answered with how the guest is then.
    ///
    /// # Errors
    /// What the supervisor says that it couldn't do; when it has gone.
    pub fn ask(&self, request: &Request) -> Result<Snapshot> {
        self.send(request)?;
        let began = Instant::now();
        if !self.speaks_by(Some(began + SILENCE))? {
            let frozen = self.supervisor().and_then(|pid| still::frozen(&self.name, pid));
            frozen.map_or(Ok(()), Err)?;
        }
        loop {
            match self.next(Some(began + PATIENCE))? {
                Some(Event::Status(snapshot)) => return Ok(*snapshot),
                Some(Event::Failed { text, hint }) => return Err(start_failed(text, hint)),
                Some(_) => {}
                None => return Err(Error::not_running(&self.name)),
            }
        }
    }
}

fn unheard(run: &RunDir, name: &GuestName) -> Error {
    let socket = run.control();
    let pid = run.supervisor().map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
    Error::new(format!(
        "the supervisor of guest '{name}', process {pid}, can't be reached: '{}' is missing",
        socket.display()
    ))
    .hint(format!("have the next command start another one: kill -9 {pid}"))
}

/// A guest runs, and all of its supervisors end.
fn unsettled(name: &GuestName) -> Error {
    Error::new(format!("guest '{name}' runs, and no supervisor stays with it"))
        .hint(format!("they may have said why: vserver logs {name} --events"))
}

/// Starts a supervisor in the background, connected to it already: its
/// standard input is the other end of the connection.
///
/// # Errors
/// When the process can't be made.
pub fn spawn_supervisor(name: &GuestName, arguments: &[&str]) -> Result<Client> {
    let what = format!("cannot start the supervisor of guest '{name}'");
    let (ours, theirs) = runtime::pair().map_err(|error| Error::os(&what, error))?;
    let child = Command::new("/proc/self/exe")
        .arg0("vserver")
        .env_clear()
        .envs(variables::ALL.iter().filter_map(|name| Some((name, env::var_os(name)?))))
        .env("PATH", PATH)
        .env(variables::ALLOCATOR.0, variables::ALLOCATOR.1)
        .arg("supervise")
        .arg(name.as_str())
        .args(arguments)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Error::os(&what, error))?;
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    started.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    started.push(child);
    Ok(Client::new(name, ours))
}

/// Do processes of the guest live? Without keeper and supervisor nobody watches
/// over them: both were killed.
fn has_orphans(paths: &Paths, name: &GuestName) -> bool {
    GuestCgroup::new(paths, name).is_ok_and(|cgroup| GuestCgroup::populated(cgroup.outer()))
}

/// Is there a guest that needs a supervisor, if it has none: one that runs, or is about
/// to be booted again?
pub(super) fn is_there(paths: &Paths, name: &GuestName) -> Result<bool> {
    let run = RunDir::new(paths, name);
    Ok(is_listened_on(&run.keeper())? || has_orphans(paths, name) || run.is_due())
}

/// The guests that run, whatever has become of their configuration.
///
/// # Errors
/// When the run directory can't be read; a missing one holds no guests.
pub fn running(paths: &Paths) -> Result<Vec<GuestName>> {
    let path = paths.run_dir();
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| Error::path("read", &path, error))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let runs = |name: &GuestName| {
        // What can't be asked is somebody's.
        RunDir::new(paths, name).has_supervisor() || is_there(paths, name).unwrap_or(true)
    };
    Ok(names.filter(runs).collect())
}

/// Has systemd started this guest?
fn is_unit(paths: &Paths, name: &GuestName) -> bool {
    GuestCgroup::new(paths, name).is_ok_and(|cgroup| cgroup.is_in_unit())
        && systemd::starts_guests(paths)
}

/// Is there somebody who takes connections?
fn is_listened_on(path: &Path) -> Result<bool> {
    let heard = runtime::is_listened_on(path, SockType::SeqPacket);
    heard.map_err(|error| Error::path("connect to", path, error))
}

/// The connection to this path, unless nobody listens there.
pub(super) fn heard(path: &Path, connected: io::Result<OwnedFd>) -> Result<Option<OwnedFd>> {
    match connected {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if runtime::is_nobodys(&error) => Ok(None),
        Err(error) => Err(Error::path("connect to", path, error)),
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
