//! The process of a keeper: what it holds, how it is executed, and how another
//! one takes the place of one that was killed.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use nix::sys::socket::SockType;
use nix::sys::stat::{Mode, umask};
use rustix::io::fcntl_dupfd_cloexec;
use shared::keeper::{KEEPER_NAME, RING_HEADER, RING_SIZE, fd};
use shared::link::Link;

use crate::cgroup::{self, GuestCgroup};
use crate::plan::Plan;
use crate::runtime::{self, RunDir};
use crate::sys::{self, Cloned};

use super::log::{self, Journal, Log};
use super::{Launched, PATIENCE, capabilities, console, init, reap, receive};

/// What a keeper holds of a boot. What there isn't, or is lost, is missing; but a
/// console can be made anew.
#[derive(Debug)]
pub struct Kept {
    /// The host's end of the link to guest-init.
    pub link: Option<OwnedFd>,
    /// The console's pty master.
    pub console: Option<OwnedFd>,
    /// Socket of the guest's own init.
    pub notify: Option<OwnedFd>,
    /// Refers to PID 1.
    pub init: OwnedFd,
    /// Holds the program that leads connections to the guest.
    pub lookup: Option<OwnedFd>,
    /// Likewise the one that counts processes.
    pub forks: Option<OwnedFd>,
}

impl Kept {
    /// The same once more, for a keeper that may not come to be.
    ///
    /// # Errors
    /// Those of fcntl(2), `F_DUPFD_CLOEXEC`.
    pub fn try_clone(&self) -> io::Result<Self> {
        let again = |fd: &Option<OwnedFd>| fd.as_ref().map(OwnedFd::try_clone).transpose();
        Ok(Self {
            link: again(&self.link)?,
            console: again(&self.console)?,
            notify: again(&self.notify)?,
            init: self.init.try_clone()?,
            lookup: again(&self.lookup)?,
            forks: again(&self.forks)?,
        })
    }
}

/// What has names on the host, and the program.
pub(super) struct Around {
    supervisors: OwnedFd,
    consoles: OwnedFd,
    ring: OwnedFd,
    log_directory: OwnedFd,
    /// guest-init.
    pub(super) init: OwnedFd,
}

impl Around {
    /// The listening sockets, which are made before the keeper exists, so that
    /// connecting never races its start; and the console's ring, a new one for a
    /// new boot.
    ///
    /// # Errors
    /// Those of bind(2) and open(2).
    pub(super) fn sockets(run: &RunDir, new: bool) -> io::Result<[OwnedFd; 3]> {
        let supervisors = runtime::listen(&run.keeper(), SockType::SeqPacket)?;
        let consoles = runtime::listen(&run.console(), SockType::Stream)?;
        let ring = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(new)
            .mode(0o600)
            .open(run.ring())?;
        ring.set_len((RING_HEADER + RING_SIZE) as u64)?;
        Ok([supervisors, consoles, ring.into()])
    }

    pub(super) fn new(sockets: [OwnedFd; 3], log_directory: OwnedFd, init: OwnedFd) -> Self {
        let [supervisors, consoles, ring] = sockets;
        Self { supervisors, consoles, ring, log_directory, init }
    }
}

/// Where logs are.
///
/// # Errors
/// Those of mkdir(2) and open(2).
pub(super) fn log_directory(plan: &Plan) -> io::Result<OwnedFd> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o750).create(&plan.console.directory)?;
    Ok(File::open(&plan.console.directory)?.into())
}

/// Leaves everything of whoever typed `start`: session, umask, ignored
/// signals, working directory, cgroup.
///
/// # Errors
/// Those of setsid(2), chdir(2) and of entering the cgroup.
pub(super) fn detach(cgroup: &GuestCgroup) -> io::Result<()> {
    rustix::process::setsid()?;
    umask(Mode::from_bits_truncate(0o022));
    sys::reset_signals();
    rustix::process::chdir("/")?;
    cgroup::enter(&cgroup.keeper())
}

/// The keeper needs no capability, and uid 0 shall not give it any.
///
/// # Errors
/// Those of prctl(2) and capset(2).
pub(super) fn drop_privileges() -> io::Result<()> {
    sys::lock_out_root_capabilities()?;
    capabilities::reduce(&[])
}

/// Puts the keeper's descriptors at their numbers and executes it. `pid` is that
/// of PID 1.
///
/// # Errors
/// Those of dup2(2) and execveat(2); nothing can be done then but to end.
pub(super) fn execute(
    plan: &Plan,
    pid: i32,
    kept: Kept,
    around: Around,
    log: Log,
) -> io::Result<Infallible> {
    /// Above all fixed numbers, and below the least that `limits.files` may be.
    const SAFE: i32 = 16;
    let safe = |fd: OwnedFd| fcntl_dupfd_cloexec(&fd, SAFE);
    let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    let or_null = |fd: Option<OwnedFd>| fd.map_or_else(null, Ok).and_then(|fd| Ok(safe(fd)?));
    let wanted = [
        (or_null(None)?, 0),
        (or_null(None)?, 1),
        (or_null(None)?, 2),
        (safe(around.supervisors)?, fd::SUPERVISORS),
        (safe(around.consoles)?, fd::CONSOLES),
        (or_null(kept.link)?, fd::LINK),
        (or_null(kept.console)?, fd::CONSOLE),
        (safe(around.log_directory)?, fd::LOG_DIRECTORY),
        (safe(around.ring)?, fd::RING),
        (or_null(kept.notify)?, fd::NOTIFY),
        (safe(kept.init)?, fd::INIT),
    ];
    let (journal, names) = match log.journal {
        Some(Journal { stream, identifier, unit }) => (Some(stream), vec![identifier, unit]),
        None => (None, Vec::new()),
    };
    let perhaps = [(kept.lookup, fd::LOOKUP), (journal, fd::JOURNAL), (kept.forks, fd::FORKS)];
    let perhaps: Vec<_> =
        perhaps.into_iter().filter_map(|(fd, number)| Some((safe(fd?), number))).collect();
    let program = safe(around.init)?;
    sys::close_on_exec_from(3)?;
    for (fd, number) in wanted {
        sys::place_descriptor(fd, number)?;
    }
    for (fd, number) in perhaps {
        sys::place_descriptor(fd?, number)?;
    }
    let text = |text: String| CString::new(text).map_err(io::Error::from);
    let (init, name) = (pid.to_string(), plan.console.name.clone());
    let argv = [KEEPER_NAME.to_owned(), init, name, log.limit.to_string()];
    let argv: Vec<_> = argv.into_iter().chain(names).map(text).collect::<io::Result<_>>()?;
    let argv: Vec<_> = argv.iter().map(CString::as_c_str).collect();
    Err(sys::exec_by_descriptor(program.as_fd(), &argv, &[]))
}

/// Starts a keeper for a boot that runs and has none any more. It isn't PID 1's
/// parent.
///
/// # Errors
/// The first step that failed; there is no keeper then.
pub fn replace(
    plan: &Plan,
    run: &RunDir,
    cgroup: &GuestCgroup,
    pid: i32,
    kept: Kept,
) -> io::Result<Launched> {
    let sockets = Around::sockets(run, false)?;
    let around = Around::new(sockets, log_directory(plan)?, init::open(&plan.state_directory)?);
    let (report, theirs) = runtime::pair()?;
    match sys::fork()? {
        Cloned::Child => {
            drop(report);
            let begin = || {
                detach(cgroup)?;
                let mut kept = kept;
                if kept.console.is_none() {
                    let console = console::renew(kept.init.as_fd(), pid, plan.ids.root());
                    let lost = |error| tracing::warn!("the guest's console is lost: {error}");
                    kept.console = console.map_err(lost).ok();
                }
                let log = log::go_on(plan);
                drop_privileges()?;
                execute(plan, pid, kept, around, log)
            };
            let Err(error) = begin();
            let report: Link<i32, ()> = Link::new(theirs);
            let _ = report.send(&error.raw_os_error().unwrap_or(libc::EIO));
            sys::exit_now(1);
        }
        Cloned::Parent { pid, pidfd } => {
            drop((theirs, kept, around));
            let report: Link<(), i32> = Link::new(report);
            // The keeper has closed its end when it is executed.
            let failed = match receive(&report, PATIENCE) {
                Ok(None) => return Ok(Launched { keeper_pid: pid, keeper: pidfd }),
                Ok(Some(errno)) => io::Error::from_raw_os_error(errno),
                Err(error) => error,
            };
            reap(&pidfd);
            Err(failed)
        }
    }
}
