//! Executes a plan: from nothing to a running PID 1 with a keeper.
//!
//! Three processes take part, each in one file. The **supervisor's half**
//! (here) prepares what has names on the host and forks. The **launcher**
//! (`launcher`) sets what must be set before the guest's namespaces exist,
//! clones the guest's PID 1 and becomes the keeper. The **child** (`child`)
//! is that PID 1: it builds the guest's view from inside and becomes
//! guest-init. A step that fails anywhere comes back as a [`Failure`].

mod binds;
mod capabilities;
mod child;
mod confinement;
mod console;
mod credentials;
mod devices;
mod explain;
mod handshake;
mod identity;
mod inherited;
mod init;
mod keeper;
mod launcher;
mod limits;
mod log;
mod mounts;
mod places;
mod records;
mod registers;
mod resolver;
mod root;
mod run_host;
mod systemd;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::link::{Link, RecvError};
use shared::message::{FromGuest, ToGuest};
use shared::stage::{Failure, Stage};

use crate::accounting::Traffic;
use crate::accounting::forks::{Forks, uncounted};
use crate::bpf::addresses::Means;
use crate::cgroup::{self, GuestCgroup, Left, Serving};
use crate::facts;
use crate::plan::limits::fewer_processors;
use crate::plan::{Network, Plan};
use crate::runtime::{self, RunDir};
use crate::seccomp::Program;
use crate::storage::{self, Failed, Tree};
use crate::sys::{self, Cloned};

use devices::Devices;
use keeper::Around;

pub use capabilities::{bound as bound_capabilities, reduce as reduce_capabilities};
pub use confinement::{filter, kept as kept_confinement, label, programs};
pub use devices::{Kept as KeptDevices, Running as RunningDevices, look as look_at_device};
pub use explain::explain;
pub use identity::become_root;
pub use inherited::{
    be_spared, leave_execution_domain, make_ordinary, processors_of, score_of, use_processors,
};
pub use init::open as open_guest_init;
pub use keeper::{Kept, replace as replace_keeper};
pub use launcher::unset_login_uid;
pub use limits::{Had, give_back, limit, limit_files, limits_of, make_room, shift_nice};

/// Longest time that one answer in the start may take. Nothing in it waits
/// for anything but the kernel.
const PATIENCE: Duration = Duration::from_secs(30);

/// A keeper that runs, and with it a guest's PID 1.
#[derive(Debug)]
pub struct Launched {
    /// The keeper's pid.
    pub keeper_pid: i32,
    /// Refers to the keeper, a child of the caller.
    pub keeper: OwnedFd,
}

/// Everything that the launcher and the child find open.
struct Prepared {
    cgroup: OwnedFd,
    /// What the keeper has around it; guest-init among it.
    around: Around,
    root: Tree,
    /// The guest's /dev.
    devices: Devices,
    /// Directories of the host's, as detached mounts.
    binds: Vec<Option<OwnedFd>>,
    /// What its root alone is handed, with names.
    credentials: Vec<(String, Vec<u8>)>,
    link_host: OwnedFd,
    link_guest: OwnedFd,
    /// Where the guest's own init says that it is up.
    notify: OwnedFd,
    filter: Vec<Program>,
    /// Descriptor of the map in which the guest's traffic is counted.
    traffic: Option<i32>,
    /// Holds the program that leads connections to the guest.
    lookup: Option<OwnedFd>,
    /// Likewise.
    forks: Option<OwnedFd>,
}

/// Starts boot number `boot` of a guest. The run directory must exist.
///
/// # Errors
/// The step that failed. What had been made is still there: the caller
/// undoes it, as it does after a guest's end. Without a count of its processes
/// it starts as well: `forks` is empty then.
pub fn launch(
    plan: &Plan,
    run: &RunDir,
    cgroup: &GuestCgroup,
    boot: u32,
    traffic: Option<&Traffic>,
    serving: Option<&Serving>,
    forks: &mut Option<Forks>,
) -> Result<Launched, Failure> {
    let fault = plan.fault;
    let sockets = at(fault, Stage::RunDirectory, || Around::sockets(run, true))?;
    let log_directory = at(fault, Stage::RunDirectory, || keeper::log_directory(plan))?;
    let inner = at(fault, Stage::Cgroup, || cgroup.create(boot, plan.ids.root()))?;
    for (number, setting) in (1u16..).zip(&plan.limits.settings) {
        at_step(fault, Stage::Cgroup, number, || cgroup.limit(boot, setting))?;
        match cgroup.left(boot, setting) {
            Left::All => {}
            Left::None if plan.limits.required => {
                let none = || -> io::Result<()> { Err(io::Error::from_raw_os_error(libc::ENXIO)) };
                at_step(fault, Stage::Cgroup, number, none)?;
            }
            Left::Some | Left::None => tracing::warn!("{}", fewer_processors(setting)),
        }
    }
    if let Network::Shared(shared) = &plan.network {
        // Before anything is there that they have to hold.
        let means = Means {
            layout: facts::kernel_layout(),
            maps: serving.map(Serving::maps),
            traffic: traffic.map(Traffic::map),
        };
        let set = || cgroup::set_addresses(cgroup.outer(), &shared.allowed, means);
        at(fault, Stage::Link, set)?;
    }
    if let Some(Err(error)) = forks.as_ref().map(|forks| forks.count(cgroup.outer())) {
        uncounted(&error);
        *forks = None;
    }
    let devices = devices::prepare(plan, run, cgroup, boot)?;
    let confinement = plan.confinement(devices.families_judged);
    at(fault, Stage::RunDirectory, || {
        let new = run.configuration().with_extension("new");
        fs::write(&new, &plan.configuration)?;
        fs::rename(&new, run.configuration())?;
        confinement::keep(&confinement, &run.confinement())
    })?;
    let filter = at(None, Stage::SystemCalls, || programs(&confinement))?;
    let init = at(fault, Stage::GuestInit, || init::open(&plan.state_directory))?;
    let root = open_root(plan)?;
    let binds = binds::open(plan)?;
    let credentials = credentials::read(plan)?;
    let (link_host, link_guest) = at(fault, Stage::Fork, || order(plan))?;
    let notify = at(fault, Stage::Fork, run_host::socket)?;
    let lookup = serving.and_then(Serving::link).map(|link| link.try_clone_to_owned());
    let lookup = at(None, Stage::Fork, || lookup.transpose())?;
    let forks = forks.as_ref().map(|forks| forks.link().try_clone_to_owned());
    let forks = at(None, Stage::Fork, || forks.transpose())?;
    let (report, report_launcher) = at(fault, Stage::Fork, runtime::pair)?;
    let prepared = Prepared {
        cgroup: inner,
        around: Around::new(sockets, log_directory, init),
        root,
        devices,
        binds,
        credentials,
        link_host,
        link_guest,
        notify,
        filter,
        traffic: traffic.map(Traffic::map),
        lookup,
        forks,
    };
    match at(fault, Stage::Fork, sys::fork)? {
        Cloned::Child => {
            drop(report);
            let report: Link<Failure, ()> = Link::new(report_launcher);
            let failure = launcher::run(plan, cgroup, prepared);
            let _ = report.send(&failure);
            sys::exit_now(1);
        }
        Cloned::Parent { pid, pidfd } => {
            drop((report_launcher, prepared));
            let report: Link<(), Failure> = Link::new(report);
            match receive(&report, PATIENCE) {
                // The launcher has executed the keeper: its end is closed.
                Ok(None) => Ok(Launched { keeper_pid: pid, keeper: pidfd }),
                Ok(Some(failure)) => Err(reaped(&pidfd, failure)),
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    Err(reaped(&pidfd, Failure { stage: Stage::ExecKeeper, step: 0, errno }))
                }
            }
        }
    }
}

/// The step of its failure is the part that couldn't be opened.
fn open_root(plan: &Plan) -> Result<Tree, Failure> {
    at(plan.fault, Stage::OpenRoot, || Ok(()))?;
    storage::open(&plan.place, plan.scratch.as_deref()).map_err(|Failed { part, cause }| Failure {
        stage: Stage::OpenRoot,
        step: part as u16,
        errno: cause.raw_os_error().unwrap_or(libc::EIO),
    })
}

/// Runs one step; an error, real or injected, becomes a [`Failure`].
fn at<T>(
    fault: Option<Failure>,
    stage: Stage,
    step: impl FnOnce() -> io::Result<T>,
) -> Result<T, Failure> {
    at_step(fault, stage, 0, step)
}

/// [`at`] for one of several like steps.
fn at_step<T>(
    fault: Option<Failure>,
    stage: Stage,
    number: u16,
    step: impl FnOnce() -> io::Result<T>,
) -> Result<T, Failure> {
    if let Some(fault) = fault.filter(|fault| fault.stage == stage && fault.step == number) {
        return Err(fault);
    }
    step().map_err(|error| Failure {
        stage,
        step: number,
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    })
}

/// Waits for a message; `None` when the peer has closed its end.
fn receive<Out: Serialize, In: DeserializeOwned>(
    link: &Link<Out, In>,
    patience: Duration,
) -> io::Result<Option<In>> {
    loop {
        match link.recv() {
            Ok(message) => return Ok(Some(message)),
            Err(RecvError::Closed) => return Ok(None),
            Err(RecvError::Empty) => wait_readable(link.as_fd(), patience)?,
            Err(RecvError::Nonsense | RecvError::Descriptors) => {
                return Err(io::Error::from_raw_os_error(libc::EBADMSG));
            }
            Err(RecvError::Os(error)) => return Err(error.into()),
        }
    }
}

fn wait_readable(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<()> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
        Ok(0) => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The launcher has failed: make sure it is gone, and its entry too.
fn reaped(launcher: &OwnedFd, failure: Failure) -> Failure {
    reap(launcher);
    failure
}

fn reap(launcher: &OwnedFd) {
    let _ = rustix::process::pidfd_send_signal(launcher, rustix::process::Signal::KILL);
    let id = rustix::process::WaitId::PidFd(launcher.as_fd());
    let _ = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
}

/// The link to guest-init, its first message already in it.
fn order(plan: &Plan) -> io::Result<(OwnedFd, OwnedFd)> {
    let (host, guest) = runtime::pair()?;
    sys::network::refuse_descriptors(host.as_fd())?;
    let link: Link<ToGuest, FromGuest> = Link::new(host);
    link.send(&ToGuest::Boot(plan.boot.clone()))
        .map_err(|_| io::Error::from_raw_os_error(libc::EMSGSIZE))?;
    Ok((link.into_fd(), guest))
}
