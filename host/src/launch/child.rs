//! The child: PID 1 of the guest, from clone3 to guest-init.
//!
//! The sequence is the page to read: one step a line, in an order that
//! matters. It makes no choices; they stand in the plan.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::fcntl_dupfd_cloexec;
use shared::link::Link;
use shared::message::LINK_FD;
use shared::stage::{Failure, Stage};

use crate::net;
use crate::plan::{ID_COUNT, Layer, Network, Plan};
use crate::sys;

use super::handshake::{FromChild, ToChild};
use super::{
    PATIENCE, Prepared, at, at_step, capabilities, confinement, console, credentials, identity,
    inherited, mounts, receive, resolver, root, run_host,
};

/// Becomes guest-init, or reports the step that failed and exits.
pub(super) fn run(plan: &Plan, prepared: Prepared, launcher: Link<FromChild, ToChild>) -> ! {
    let failure = match sequence(plan, prepared, &launcher) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let _ = launcher.send(&FromChild::Failed(failure));
    sys::exit_now(1)
}

fn sequence(
    plan: &Plan,
    prepared: Prepared,
    launcher: &Link<FromChild, ToChild>,
) -> Result<Infallible, Failure> {
    let fault = plan.fault;
    // The one barrier: before it, this process has no ids of its own.
    at(fault, Stage::Go, || wait(launcher))?;
    at(fault, Stage::Identity, identity::become_root)?;
    at(fault, Stage::Identity, || refuse_nesting(plan))?;
    at(fault, Stage::Session, || rustix::process::setsid().map(drop).map_err(io::Error::from))?;
    at(fault, Stage::Session, inherited::leave_execution_domain)?;
    at(fault, Stage::Hostname, || set_names(plan))?;
    if !plan.network.is_shared() {
        at(fault, Stage::Loopback, sys::network::loopback_up)?;
        at(fault, Stage::Loopback, allow_ping)?;
    }
    if let Network::Linked(link) = &plan.network {
        at(fault, Stage::Addresses, || net::arrive(link))?;
    }
    at(fault, Stage::PrivateMounts, root::separate)?;
    let tree = at(fault, Stage::AttachRoot, || root::attach(&prepared.root))?;
    let tree = tree.as_fd();
    at(fault, Stage::Resolver, || resolver::write(tree, plan.resolver.as_deref()))?;
    for (number, step) in (0u16..).zip(&plan.mounts) {
        at_step(fault, Stage::Mount, number, || {
            mounts::execute(tree, step, &prepared.devices, &prepared.binds)
        })?;
    }
    let console = at(fault, Stage::Console, || console::make(tree))?;
    at(fault, Stage::Console, || hand_over(launcher, &console.master))?;
    // From here on no path of the host can be reached.
    at(fault, Stage::PivotRoot, || root::pivot(tree))?;
    at(fault, Stage::RunHost, || run_host::fill(plan.uuid.as_deref(), &prepared.notify))?;
    if plan.tells_interfaces {
        at(fault, Stage::RunHost, run_host::tell_interfaces)?;
    }
    at(fault, Stage::RunHost, || credentials::lay(&prepared.credentials))?;
    at(fault, Stage::Label, || confinement::label(plan.label.as_ref()))?;
    // Before capabilities go: CAP_SYS_ADMIN lets it be set without
    // no_new_privs (seccomp(2)).
    at(fault, Stage::SystemCalls, || confinement::filter(&prepared.filter))?;
    at(fault, Stage::Capabilities, || reduce(plan))?;
    let link = prepared.link_guest;
    let init = at(fault, Stage::CloseDescriptors, || {
        arrange(console.terminal, link, prepared.around.init)
    })?;
    at(fault, Stage::ExecInit, || execute(plan, init))
}

fn wait(launcher: &Link<FromChild, ToChild>) -> io::Result<()> {
    match receive(launcher, PATIENCE)? {
        Some(ToChild::Go) => Ok(()),
        None => Err(io::Error::from_raw_os_error(libc::EPIPE)),
    }
}

/// No user namespaces inside the guest's own: in one of them its root would
/// have every capability again, mount what the guest must not (cgroup v1 shows
/// the host's whole tree), and write there with the ids that it has outside.
/// The sysctl is the writer's user namespace's own (namespaces(7)). Without
/// such a namespace only a system call filter can refuse it.
fn refuse_nesting(plan: &Plan) -> io::Result<()> {
    let left_out = plan.without.contains(&Layer::Nesting);
    let refused = plan.ids.has_namespace() && !plan.nesting && !left_out;
    if refused { fs::write("/proc/sys/user/max_user_namespaces", "0") } else { Ok(()) }
}

/// Without the layer nothing is asked for: a host's root may lack some
/// capability itself, and could not have it set.
fn reduce(plan: &Plan) -> io::Result<()> {
    let left_out = plan.without.contains(&Layer::Capabilities);
    if left_out { Ok(()) } else { capabilities::reduce(&plan.capabilities) }
}

fn set_names(plan: &Plan) -> io::Result<()> {
    rustix::system::sethostname(plan.hostname.as_bytes())?;
    if let Some(domain) = &plan.domainname {
        rustix::system::setdomainname(domain.as_bytes())?;
    }
    Ok(())
}

/// Lets every group of the guest open ping sockets (icmp(7)): distributions
/// whose `ping` has no capability set the widest range there is, which the
/// kernel refuses where a user namespace has fewer ids. The sysctl is the
/// reader's network namespace's own.
fn allow_ping() -> io::Result<()> {
    match fs::write("/proc/sys/net/ipv4/ping_group_range", format!("0 {}", ID_COUNT - 1)) {
        // A kernel without IPv4.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn hand_over(launcher: &Link<FromChild, ToChild>, master: &OwnedFd) -> io::Result<()> {
    launcher
        .send_with_fds(&FromChild::Console, &[master.as_fd()])
        .map_err(|_| io::Error::from_raw_os_error(libc::EPIPE))
}

/// The console as 0, 1, 2, the link as 3; everything else closes at exec.
fn arrange(terminal: OwnedFd, link: OwnedFd, init: OwnedFd) -> io::Result<OwnedFd> {
    /// Above all fixed numbers, and below the least that `limits.files` may be.
    const SAFE: i32 = 16;
    let link = fcntl_dupfd_cloexec(&link, SAFE)?;
    let init = fcntl_dupfd_cloexec(&init, SAFE)?;
    let terminal = fcntl_dupfd_cloexec(&terminal, SAFE)?;
    sys::close_on_exec_from(3)?;
    for number in 0..3 {
        sys::place_descriptor(terminal.try_clone()?, number)?;
    }
    sys::place_descriptor(link, LINK_FD)?;
    Ok(init)
}

fn execute(plan: &Plan, init: OwnedFd) -> io::Result<Infallible> {
    let variables: Result<Vec<CString>, _> = plan
        .environment
        .iter()
        .map(|(name, value)| CString::new(format!("{name}={value}")))
        .collect();
    let variables = variables?;
    let variables: Vec<_> = variables.iter().map(CString::as_c_str).collect();
    Err(sys::exec_by_descriptor(init.as_fd(), &[c"guest-init"], &variables))
}
