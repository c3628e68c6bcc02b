//! The launcher: clones the guest's PID 1 and becomes its keeper.
//!
//! It is forked from the supervisor and has one thread. Whoever clones PID 1
//! is its parent, holds its wait status and must outlive the supervisor; so
//! this process executes the keeper at the end, with nothing but the
//! keeper's descriptors.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{WaitId, WaitIdOptions};
use rustix::time::{ClockId, clock_gettime};
use shared::link::{Link, RecvError};
use shared::stage::{Failure, Stage};

use crate::cgroup::GuestCgroup;
use crate::net;
use crate::plan::{self, ID_COUNT, Ids, Network, Plan};
use crate::runtime;
use crate::sys::{self, CloneArgs, Cloned};

use super::handshake::{FromChild, ToChild};
use super::keeper::{self, Kept};
use super::{
    PATIENCE, Prepared, at, at_step, binds, child, inherited, limits, log, records, root,
    wait_readable,
};

/// `CLONE_NEWTIME` (unshare(2)); nix has no name for it.
const CLONE_NEWTIME: i32 = 0x80;

/// Namespaces that PID 1 is cloned into, besides time and user.
const NAMESPACES: u64 = (libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u64;

/// Runs the launcher; returns only if a step has failed. Then no child is
/// left.
pub(super) fn run(plan: &Plan, cgroup: &GuestCgroup, prepared: Prepared) -> Failure {
    match sequence(plan, cgroup, prepared) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn sequence(plan: &Plan, cgroup: &GuestCgroup, prepared: Prepared) -> Result<Infallible, Failure> {
    let fault = plan.fault;
    at(fault, Stage::KeeperCgroup, || keeper::detach(cgroup))?;
    at(fault, Stage::LoginUid, || unset_login_uid(plan.is_nested))?;
    at(fault, Stage::Limits, || limits::limit(&plan.limits.process))?;
    at(fault, Stage::TimeNamespace, new_clocks)?;
    let (ours, childs) = at(fault, Stage::Clone, runtime::pair)?;
    let (pid, pidfd) = match at(fault, Stage::Clone, || clone(plan, &prepared.cgroup))? {
        Cloned::Child => {
            drop(ours);
            child::run(plan, prepared, Link::new(childs));
        }
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(childs);
    let last = || {
        let console = guide(plan, &prepared, pid, Link::new(ours))?;
        let log = log::open(plan);
        at(fault, Stage::KeeperPrivileges, keeper::drop_privileges)?;
        at(fault, Stage::ExecKeeper, || {
            let kept = Kept {
                link: Some(prepared.link_host),
                console: Some(console),
                notify: Some(prepared.notify),
                init: pidfd.try_clone()?,
                lookup: prepared.lookup,
                forks: prepared.forks,
            };
            keeper::execute(plan, pid, kept, prepared.around, log)
        })
    };
    last().inspect_err(|_| end(&pidfd))
}

/// Unsets the login uid, or pam_loginuid inside fails for a guest that was
/// started from a login session: a set one can't be changed there. It takes
/// CAP_AUDIT_CONTROL over the host, so it can't wait for the child.
/// `is_nested`: is the host a guest itself?
///
/// # Errors
/// Those of writing `/proc/self/loginuid`.
pub fn unset_login_uid(is_nested: bool) -> io::Result<()> {
    const FILE: &str = "/proc/self/loginuid";
    const UNSET: &str = "4294967295";
    match fs::read_to_string(FILE) {
        // A kernel without auditing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(now) if now.trim() == UNSET => Ok(()),
        _ => match fs::write(FILE, UNSET) {
            // A guest that has a guest can't: what it was started with stays.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_nested => Ok(()),
            other => other,
        },
    }
}

/// Children of this process live in a time namespace whose clocks start at
/// 0 now (time_namespaces(7)); offsets can be written only before the first.
fn new_clocks() -> io::Result<()> {
    unshare(CloneFlags::from_bits_retain(CLONE_NEWTIME))?;
    let back = |name: &str, clock: ClockId| {
        let now = clock_gettime(clock);
        // Nanoseconds of an offset are 0 to 999,999,999; the sum must not be
        // negative, so the rest of the second is left.
        format!("{name} -{} 0\n", now.tv_sec)
    };
    let offsets = back("monotonic", ClockId::Monotonic) + &back("boottime", ClockId::Boottime);
    fs::write("/proc/self/timens_offsets", offsets)
}

/// Clones PID 1. A user namespace belongs to the effective uid of its
/// creator, and limits on inotify, namespaces and the like are counted
/// there: it is created under an id that no other guest has, with
/// capabilities kept, so that no two guests share a count
/// (user_namespaces(7), "Ownership"). The real uid makes the kernel hold all
/// processes of the guest together to the creator's limit on processes, which
/// doesn't bind the host's root (getrlimit(2), `RLIMIT_NPROC`).
fn clone(plan: &Plan, cgroup: &OwnedFd) -> io::Result<Cloned> {
    let mut args = CloneArgs { namespaces: NAMESPACES, cgroup: Some(cgroup.as_fd()) };
    if plan.network.is_shared() {
        args.namespaces &= !(libc::CLONE_NEWNET as u64);
    }
    let Some(owner) = plan.ids.owner() else {
        return sys::clone3(&args);
    };
    // A guest that has a guest has no other ids to give.
    let owner = if plan.is_nested { 0 } else { owner };
    args.namespaces |= libc::CLONE_NEWUSER as u64;
    sys::keep_capabilities_over_setuid(true)?;
    sys::become_uid(owner)?;
    let cloned = sys::clone3(&args);
    if matches!(cloned, Ok(Cloned::Parent { .. }) | Err(_)) {
        sys::become_uid(0)?;
        sys::keep_capabilities_over_setuid(false)?;
    }
    cloned
}

/// Does for the child what only the host can, lets it go, and waits until
/// guest-init runs. Returns the console's master.
fn guide(
    plan: &Plan,
    prepared: &Prepared,
    pid: i32,
    child: Link<ToChild, FromChild>,
) -> Result<OwnedFd, Failure> {
    let fault = plan.fault;
    outside(plan, prepared, pid).map_err(|failure| match child.recv() {
        // It has ended before that: what follows from it isn't the cause.
        Ok(FromChild::Failed(cause)) => cause,
        _ => failure,
    })?;
    at(fault, Stage::Go, || {
        child.send(&ToChild::Go).map_err(|_| io::Error::from_raw_os_error(libc::EPIPE))
    })?;
    let mut console = None;
    loop {
        match child.recv_with_fds(sys::adopt) {
            Ok((FromChild::Console, fds)) => console = fds.into_iter().next(),
            Ok((FromChild::Failed(failure), _)) => return Err(failure),
            Err(RecvError::Empty) => {
                at(None, Stage::ExecInit, || wait_readable(child.as_fd(), PATIENCE))?;
            }
            Err(_) => break,
        }
    }
    console.ok_or(Failure { stage: Stage::ExecInit, step: 0, errno: libc::EPIPE })
}

/// What the child can't do for itself.
fn outside(plan: &Plan, prepared: &Prepared, pid: i32) -> Result<(), Failure> {
    let fault = plan.fault;
    at(fault, Stage::IdMap, || map_ids(plan.ids, pid))?;
    let namespace = at(fault, Stage::IdmapRoot, || namespace(plan.ids, pid))?;
    let namespace = namespace.as_ref().map(AsFd::as_fd);
    at(None, Stage::IdmapRoot, || root::prepare(&prepared.root, namespace))?;
    binds::prepare(plan, &prepared.binds, namespace)?;
    at(fault, Stage::Limits, || limits::be_nice(pid, plan.limits.nice))?;
    at(fault, Stage::Limits, || inherited::make_ordinary(pid, 0))?;
    match &plan.network {
        Network::Linked(link) => connect(fault, link, pid, prepared.traffic)?,
        Network::None | Network::Shared(_) => {}
    }
    match &plan.process_records {
        Some(file) => at(fault, Stage::ProcessRecords, || records::begin(file, pid)),
        None => Ok(()),
    }
}

/// Makes the guest's link, which is counted in this map, filters it, brings it
/// up (a step each), and routes its addresses to it, one a step, where the host
/// is to do that.
fn connect(
    fault: Option<Failure>,
    link: &plan::Link,
    pid: i32,
    traffic: Option<i32>,
) -> Result<(), Failure> {
    let mut host = at(fault, Stage::Link, || net::Host::make(link, pid, traffic))?;
    at_step(fault, Stage::Link, 1, || host.guard())?;
    at_step(fault, Stage::Link, 2, || host.bring_up())?;
    for (number, address) in (0u16..).zip(link.ips()) {
        at_step(fault, Stage::Route, number, || host.route(address))?;
    }
    Ok(())
}

fn map_ids(ids: Ids, pid: i32) -> io::Result<()> {
    if !ids.has_namespace() {
        return Ok(());
    }
    let line = format!("0 {} {ID_COUNT}", ids.root());
    fs::write(format!("/proc/{pid}/uid_map"), &line)?;
    fs::write(format!("/proc/{pid}/gid_map"), &line)
}

/// The user namespace whose ids the guest's files are shown with, if not with
/// their own.
fn namespace(ids: Ids, pid: i32) -> io::Result<Option<fs::File>> {
    match ids {
        Ids::Private(_) => fs::File::open(format!("/proc/{pid}/ns/user")).map(Some),
        Ids::Identity(_) | Ids::Host => Ok(None),
    }
}

/// Kills and reaps the child.
fn end(child: &OwnedFd) {
    let _ = rustix::process::pidfd_send_signal(child, rustix::process::Signal::KILL);
    let _ = rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
}
