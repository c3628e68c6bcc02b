//! The command on the outside: makes or finds the context, and sends the
//! command in.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use caps::{CapSet, Capability};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use shared::link::Link;
use shared::outcome::Outcome;

use crate::context::{self, Entry, Record, Registry};
use crate::error::{Error, Result};
use crate::facts;
use crate::paths::Paths;
use crate::runtime::{self, Lock};
use crate::sys::{self, CloneArgs, Cloned};

use super::enter::{self, Entrant, Target};
use super::reaper::{self, Post};
use super::report::{News, Step, ToReaper};
use super::scene::Scene;
use super::watch::{Watch, take_signals};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The command and its arguments; not empty.
    pub command: Vec<CString>,
    /// The context's number; one is given if there is none.
    pub number: Option<u32>,
    /// The most that the command may do, if that is less than the caller.
    pub keep: Option<Vec<Capability>>,
    /// Is what changes the kernel read-only in a new context?
    pub is_secure: bool,
    /// Is the command PID 1 of a new context?
    pub is_own_init: bool,
    /// Does a new context stay when nothing is left?
    pub is_persistent: bool,
    /// May nobody join a new context?
    pub is_private: bool,
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain.
    pub domainname: Option<String>,
    /// Does the command leave the terminal, and isn't waited for?
    pub is_disconnected: bool,
}

/// Told when a new context is there, before the command runs in it.
pub type Made<'a> = &'a mut dyn FnMut(u32) -> Result<()>;

const NAMESPACES: i32 =
    libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Tries to join a context that others are leaving.
const TRIES: usize = 10;

/// Runs the command in a context of that number, which is made if need be.
/// Calls `made` with the number of a new one. Returns how the command ended;
/// success when it isn't waited for.
///
/// # Errors
/// When the context can't be made or joined, or the command can't be
/// executed (`Kind::CannotExecute`, `Kind::CommandNotFound`).
pub fn run(paths: &Paths, wish: &Wish, made: Made<'_>) -> Result<Outcome> {
    let fail = |error: io::Error| Error::os("cannot run a command in a context", error);
    // Only root has a register. Signals still end who waits for others.
    let registry = rustix::process::geteuid().is_root().then(|| Registry::new(paths));
    let lock = registry.as_ref().map(Registry::lock).transpose()?;
    let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| fail(error.into()));
    let (ours, theirs) = runtime::pair().map_err(fail)?;
    let (news, tell) = pipe()?;
    let (hold, held) = pipe()?;
    let (signals, mask) = take_signals().map_err(fail)?;
    let entrant = Entrant {
        command: wish.command.clone(),
        number: wish.number.unwrap_or(0),
        hostname: wish.hostname.clone(),
        domainname: wish.domainname.clone(),
        keep: wish.keep.clone(),
        is_disconnected: wish.is_disconnected,
        addresses: context::own_addresses(),
        mask,
        directory,
        news: tell,
        link: Link::new(theirs),
    };
    let watch = Watch::new(Link::new(ours), news, signals);
    let mut outside = Outside { watch, wish, registry, lock, held: Some(held) };
    if let Some(number) = wish.number
        && let Some(target) = outside.find(number, &hold)?
    {
        outside.send_in(target, entrant)?;
    } else if wish.number.is_some_and(|number| !context::is_static(number)) {
        return Err(Error::new(format!("there is no context {}", entrant.number))
            .hint("numbers from 49152 on are given out; without '--ctx' a new one is"));
    } else if wish.is_own_init {
        outside.make_own_init(hold, entrant, made)?;
    } else {
        outside.make(hold, entrant, made)?;
    }
    // The context is known and stays. What is executed may lie on a file system that
    // doesn't answer.
    let Outside { watch, lock, .. } = outside;
    drop(lock);
    watch.run(wish)
}

struct Outside<'a> {
    watch: Watch,
    wish: &'a Wish,
    registry: Option<Registry>,
    /// No other context is made or joined meanwhile.
    lock: Option<Lock>,
    /// A reaper stays as long as this is open somewhere.
    held: Option<OwnedFd>,
}

impl Outside<'_> {
    /// The running context of this number, which stays until the other end
    /// of `hold` is closed; none if there is none.
    fn find(&self, number: u32, hold: &OwnedFd) -> Result<Option<Target>> {
        let Some(registry) = &self.registry else { return Ok(None) };
        for _ in 0..TRIES {
            let Some(record) = registry.find(number) else { return Ok(None) };
            if record.is_private {
                return Err(Error::new(format!("context {number} is private"))
                    .hint("it was made with '--flag private': nobody may join it"));
            }
            let Some((pid, init)) = context::init_of(record.pid_namespace) else {
                return Err(Error::new(format!("context {number} can't be joined from here"))
                    .hint("only contexts that were made in this one can"));
            };
            let fail =
                |error: io::Error| Error::os(format_args!("cannot join context {number}"), error);
            // It may be about to end: its entry goes first, then this.
            let ends = || {
                let mut fds = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::from(1000_u16)) == Ok(1)
            };
            let root = match open_root(pid) {
                Ok(root) => root,
                Err(_) if ends() => continue,
                Err(error) => return Err(fail(error)),
            };
            let namespaces = namespaces(pid);
            let door = if record.is_own_init {
                None
            } else {
                match knock(&init, hold) {
                    Ok(door) => Some(door),
                    Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {
                        ends();
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        return Err(fail(error).hint(format!(
                            "its first process, {pid} of this host, is stopped or frozen: kill -CONT {pid}"
                        )));
                    }
                    Err(error) => return Err(fail(error)),
                }
            };
            return Ok(Some(Target { init, namespaces, root, door }));
        }
        Err(Error::new(format!("context {number} is about to end")).hint("try again"))
    }

    /// Makes a context with a reaper, and sends the command in.
    fn make(&mut self, hold: OwnedFd, entrant: Entrant, made: Made<'_>) -> Result<()> {
        let entry = self.registry.as_ref().map(Registry::prepare).transpose()?;
        let (namespaces, ids) = new_namespaces();
        let (server, door) = runtime::pair().map_err(refused)?;
        let args = CloneArgs { namespaces, cgroup: None };
        let (pid, init) = match sys::clone3(&args).map_err(refused)? {
            Cloned::Child => {
                let lock = entry.as_ref().and_then(|entry| entry.file().try_clone().ok());
                let post = Post {
                    lock: lock.map(OwnedFd::from),
                    registry: self.registry.clone(),
                    server,
                    door,
                    hold,
                    is_persistent: self.wish.is_persistent,
                };
                reaper::run(ids, &self.scene(), post, &entrant.link)
            }
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop((server, hold));
        let number = self.make_known(entry, &init, made)?;
        let root = open_root(pid).map_err(refused)?;
        let target = Target { init, namespaces: self::namespaces(pid), root, door: Some(door) };
        self.send_in(target, Entrant { number, ..entrant })
    }

    /// Makes a context whose PID 1 is the command.
    fn make_own_init(&mut self, go: OwnedFd, entrant: Entrant, made: Made<'_>) -> Result<()> {
        let entry = self.registry.as_ref().map(Registry::prepare).transpose()?;
        let (namespaces, ids) = new_namespaces();
        let guide = match sys::fork().map_err(refused)? {
            Cloned::Child => {
                // The entry stays open, and with it locked.
                drop((self.lock.take(), self.held.take()));
                let registry = self.registry.as_ref();
                enter::make_own_init(namespaces, ids, &self.scene(), go, entrant, registry)
            }
            Cloned::Parent { pidfd, .. } => pidfd,
        };
        drop((entrant, go));
        self.make_known(entry, &guide, made)?;
        // The command's turn.
        self.held.take().map_or(Ok(()), |held| File::from(held).write_all(b"!")).map_err(refused)
    }

    /// Waits until a new context is there, and makes its number known.
    fn make_known(&mut self, entry: Option<Entry>, maker: &OwnedFd, made: Made<'_>) -> Result<u32> {
        let (number, pid_namespace) = self.watch.await_ready(self.wish, maker)?;
        if let Some(entry) = entry {
            let record = Record {
                pid_namespace,
                is_own_init: self.wish.is_own_init,
                is_private: self.wish.is_private,
            };
            entry.publish(number, &record)?;
        }
        made(number)?;
        Ok(number)
    }

    /// Starts the guide that takes the command in.
    fn send_in(&mut self, target: Target, entrant: Entrant) -> Result<()> {
        let is_brief = target.door.is_some();
        match sys::fork().map_err(refused)? {
            Cloned::Child => {
                drop(self.lock.take());
                if !is_brief {
                    drop(self.held.take());
                }
                enter::guide(target, entrant)
            }
            Cloned::Parent { pid, .. } => {
                // The command has its own copy until it is executed.
                drop(self.held.take());
                self.watch.guide = is_brief.then_some(pid);
                Ok(())
            }
        }
    }

    fn scene(&self) -> Scene {
        Scene {
            number: self.wish.number,
            hides_init: !self.wish.is_own_init,
            is_secure: self.wish.is_secure,
        }
    }
}

/// How long a reaper may take for an answer.
const ANSWERING: u16 = 5000;

/// Asks a reaper to stay. Gives its door; EPIPE if it has ended, ETIMEDOUT if it
/// doesn't answer.
fn knock(init: &OwnedFd, hold: &OwnedFd) -> io::Result<OwnedFd> {
    let gone = || io::Error::from_raw_os_error(libc::EPIPE);
    let door = match pidfd_getfd(init, reaper::DOOR, PidfdGetfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::BADF) => return Err(gone()),
        other => other?,
    };
    let (answer, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let link: Link<ToReaper, ()> = Link::new(door.try_clone()?);
    link.send_with_fds(&ToReaper::Hold, &[hold.as_fd(), write.as_fd()]).map_err(|_| gone())?;
    drop(write);
    let mut fds = [PollFd::new(answer.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, PollTimeout::from(ANSWERING)) == Ok(0) {
        return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
    }
    match News::read(&answer) {
        Some(News::Held) => Ok(door),
        _ => Err(gone()),
    }
}

/// What a new context has of its own, and the ids that are mapped into its
/// user namespace if it needs one.
fn new_namespaces() -> (u64, Option<(u32, u32)>) {
    let has_power = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN);
    let ids = (!has_power.unwrap_or(false))
        .then(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let user = if ids.is_some() { libc::CLONE_NEWUSER } else { 0 };
    ((NAMESPACES | user) as u64, ids)
}

fn open_root(pid: i32) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?)
}

fn refused(cause: io::Error) -> Error {
    explain(None, cause)
}

/// What a step's failure, or that of making a context at all, means.
pub(super) fn failed(wish: &Wish, step: Step, errno: i32) -> Error {
    let cause = io::Error::from_raw_os_error(errno);
    if step == Step::Execute {
        let program = wish.command.first().map(|word| word.to_string_lossy());
        return Error::exec(program.unwrap_or_default(), cause);
    }
    explain(Some(step), cause)
}

fn explain(step: Option<Step>, cause: io::Error) -> Error {
    let what = match step {
        None | Some(Step::Execute) => "make",
        Some(Step::Ids) => "map the user's ids in",
        Some(Step::Mounts) => "separate the mounts of",
        Some(Step::Proc) => "mount /proc in",
        Some(Step::Ipc) => "mount the places of IPC in",
        Some(Step::Join) => "join",
        Some(Step::Fork) => "fork in",
        Some(Step::Hostname) => "set the host name of",
        Some(Step::Status) => "make the status file in",
        Some(Step::Capabilities) => "reduce the capabilities in",
        Some(Step::Disconnect) => "leave the terminal for",
    };
    let errno = cause.raw_os_error();
    let error = Error::os(format_args!("cannot {what} a context"), cause);
    match errno {
        // clone3 is as old as Linux 5.3; filters answer so, as it can't be
        // judged by its arguments.
        Some(libc::ENOSYS) if facts::is_in_user_namespace() => error.hint(
            "new namespaces are refused in here, as in every guest without 'security.nesting = \
             true' in its configuration",
        ),
        _ if rustix::process::geteuid().is_root() => error,
        _ => error.hint("this host doesn't let ordinary users make namespaces; run it as root"),
    }
}

/// The kinds of namespaces in which a process differs from the caller.
fn namespaces(pid: i32) -> CloneFlags {
    let kinds = [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("mnt", CloneFlags::CLONE_NEWNS),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
    ];
    let inode = |pid: &str, kind: &str| {
        fs::metadata(format!("/proc/{pid}/ns/{kind}")).map(|meta| meta.ino()).ok()
    };
    let differs = |kind: &str| inode(&pid.to_string(), kind) != inode("self", kind);
    kinds.into_iter().filter(|(kind, _)| differs(kind)).map(|(_, flag)| flag).collect()
}
