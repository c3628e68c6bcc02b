//! `vserver supervise`: one guest's supervisor.

mod machined;
mod place;
mod unit;

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use shared::message::BootMode;
use shared::name::GuestName;

use crate::cgroup::{self, GuestCgroup};
use crate::cli::SuperviseArgs;
use crate::commands::Exit;
use crate::config;
use crate::control::{Event, Request, Wire};
use crate::error::{Error, Result};
use crate::launch::be_spared;
use crate::log;
use crate::paths::Paths;
use crate::plan::Plan;
use crate::runtime::{Place, RunDir, State};
use crate::supervisor::{self, Planner, Start, Supervisor};
use crate::sys;
use crate::systemd::{self, Notifier};
use crate::variables;

/// Runs until the guest is down for good.
pub(super) fn run(args: &SuperviseArgs, paths: &Paths) -> Result<Exit> {
    let role = args.role;
    if role.stop_unit {
        return unit::stop(paths, &args.name);
    }
    if role.unit_stopped {
        return unit::stopped(paths, &args.name);
    }
    if role.machined {
        return machined::tell(paths, args);
    }
    if let Some(init_pid) = args.lead {
        return machined::lead(paths, args, init_pid);
    }
    sys::close_inherited()
        .map_err(|error| Error::os("cannot close inherited descriptors", error))?;
    // The unit that is started when the guest's own has failed.
    let adopts = role.unit && args.take_over;
    let is_up = || supervisor::runs(paths, &args.name) || RunDir::new(paths, &args.name).is_due();
    if adopts && (unit::is_coming(&args.name) || !is_up()) {
        return Ok(Exit::DONE);
    }
    if role.unit && !adopts {
        unit::forget_end_if_wanted(paths, &args.name);
    }
    if role.unit && unit::needs_guard(paths, &args.name)? {
        // Anew, and without what this process has needed till now. If that fails,
        // with it.
        let _ = systemd::guard::replace(&args.name);
        return guard_supervisors(paths, &args.name);
    }
    if role.guard {
        return guard_supervisors(paths, &args.name);
    }
    let is_unit = role.unit || role.guarded;
    if !is_unit {
        be_spared();
    }
    let guard = if role.guarded { Some(guard()?) } else { None };
    let starter = if role.guarded { None } else { starter()? };
    // Out of the session of whoever typed `start`; a process started by
    // systemd leads its own already.
    let _ = rustix::process::setsid();
    if starter.is_some() && !args.foreground {
        leave_cgroup();
    }
    // Executed as /proc/self/exe, it would be "exe" in ps.
    let _ = rustix::thread::set_name(c"vserver");
    rustix::process::chdir("/").map_err(|error| Error::os("cannot change to '/'", error))?;
    // Before another supervisor leaves its place for this one.
    let plan = plan(args, paths, supervisor::runs(paths, &args.name));
    let context = plan.as_ref().ok().map(|(_, plan)| plan.context);
    log::supervisor(paths, &args.name, context);
    if let Err(error) = plan {
        return Err(tell(starter, error));
    }
    if let Err(error) = config::load(paths, &args.name) {
        tracing::warn!("the guest runs on as it is, and can't be started so again: {error}");
    }
    let caught = |error| Error::os("cannot catch signals", error);
    let missed = supervisor::missed().map_err(caught)?;
    let place = match (adopts, is_unit) {
        (true, _) => place::take_for_failed(paths, &args.name),
        (false, true) => place::take_from_others(paths, &args.name).map(Some),
        (false, false) => place::take(paths, &args.name, args.take_over).map(Some),
    };
    let place = match place {
        Ok(Some(place)) => place,
        Ok(None) => return Ok(Exit::DONE),
        Err(error) => return Err(tell(starter, error)),
    };
    let (planner, plan) = match plan_in_place(args, paths, &place) {
        Ok(planned) => planned,
        Err(error) => {
            RunDir::new(paths, &args.name).leave(place.lock);
            return Err(tell(starter, error));
        }
    };
    let copy = starter.as_ref().and_then(|fd| fd.try_clone().ok());
    let start = if args.take_over { Start::Never } else { Start::IfDown };
    match Supervisor::new(planner, plan, start, place, starter) {
        Ok(supervisor) => {
            drop(copy);
            let supervisor = supervisor.guarded_by(guard);
            let supervisor = supervisor.woken_by_signals(missed, is_unit).map_err(caught)?;
            supervisor.run()?;
            Ok(Exit::DONE)
        }
        Err(error) => Err(tell(copy, error)),
    }
}

/// How the guest is booted, or taken over if it `runs`.
///
/// # Errors
/// As [`Planner::plan`] and [`Planner::plan_of_running`].
fn plan(args: &SuperviseArgs, paths: &Paths, runs: bool) -> Result<(Planner, Plan)> {
    let planner = planner(args, paths, runs);
    let plan = match args.take_over || runs {
        true => planner.plan_of_running()?,
        false => planner.plan(env::var(variables::FAULT).ok().as_deref())?,
    };
    Ok((planner, plan))
}

/// The same, once this process is the guest's supervisor: nobody boots it, nor puts
/// other files in their place, between this look at it and its boot.
fn plan_in_place(args: &SuperviseArgs, paths: &Paths, place: &Place) -> Result<(Planner, Plan)> {
    let runs = supervisor::runs(paths, &args.name);
    if !runs && !args.take_over && !place.follows_end {
        place::wait_for_rest(paths, &args.name)?;
    }
    plan(args, paths, runs)
}

/// A guard of supervisors, if the arguments say so as guards are called. It comes
/// here without the parser, whose memory would be most of what a guard has.
pub(super) fn as_guard(argv: &[OsString], paths: &Paths) -> Option<Result<Exit>> {
    let [_, verb, role, name] = argv else { return None };
    if verb != "supervise" || role != systemd::guard::GUARD {
        return None;
    }
    let name = name.to_str()?.parse().ok()?;
    let closed = sys::close_inherited();
    Some(match closed {
        Ok(()) => guard_supervisors(paths, &name),
        Err(error) => Err(Error::os("cannot close inherited descriptors", error)),
    })
}

fn guard_supervisors(paths: &Paths, name: &GuestName) -> Result<Exit> {
    log::supervisor(paths, name, None);
    systemd::guard::run(paths, name).map(Exit::of)
}

/// Out of the cgroup of the service or login in which somebody has typed
/// `start`: systemd kills what is left in it when that ends
/// (systemd.kill(5), logind.conf(5)). The root cgroup is nobody's. A
/// supervisor that is a service's own process, started by no other vserver
/// or for one that waits (`start --foreground`), stays.
///
/// Where the root can't be entered, as in a container with controllers below
/// it (cgroups(7), "no internal processes"), the guest runs as well; and in
/// hierarchies of version 1, which are others', nothing is moved.
fn leave_cgroup() {
    if let Ok(root) = cgroup::find_mount() {
        let _ = cgroup::enter(&root);
    }
}

/// A guest that runs is taken over, and goes on as what it was started as. What
/// was written about one that has ended counts no more.
fn planner(args: &SuperviseArgs, paths: &Paths, runs: bool) -> Planner {
    let run = RunDir::new(paths, &args.name);
    let before = if runs { State::read(&run.state()) } else { State::default() };
    let rescue = args.rescue.clone().or(before.rescue);
    let mode = match rescue {
        Some(command) => BootMode::Rescue(command),
        None if args.idle || before.idle => BootMode::Idle,
        None => BootMode::Boot,
    };
    let without = env::var(variables::WITHOUT).ok();
    // The guest's cgroup may be the unit's while this process is in another.
    let in_unit = cgroup::own_unit(paths, &args.name).is_some()
        || GuestCgroup::new(paths, &args.name).is_ok_and(|cgroup| cgroup.is_in_unit());
    Planner { paths: paths.clone(), name: args.name.clone(), mode, in_unit, without, scratch: None }
}

/// Whoever started this process may have put a connection of theirs on its
/// standard input. It is taken from there, so that nothing else inherits it.
fn starter() -> Result<Option<OwnedFd>> {
    let fail = |error: io::Error| Error::os("cannot look at standard input", error);
    let status = rustix::fs::fstat(io::stdin()).map_err(|error| fail(error.into()))?;
    if FileType::from_raw_mode(status.st_mode) != FileType::Socket {
        return Ok(None);
    }
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(fail)?;
    let null = std::fs::File::open("/dev/null").map_err(fail)?;
    rustix::stdio::dup2_stdin(null).map_err(|error| fail(error.into()))?;
    Ok(Some(socket))
}

/// The socket whose other end the guard holds is standard input, and stays that
/// for another version of this program.
fn guard() -> Result<OwnedFd> {
    io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Error::os("cannot look at standard input", error))
}

/// Tells whoever waits why there is no supervisor.
fn tell(starter: Option<OwnedFd>, error: Error) -> Error {
    Notifier::from_environment().failed(&error.to_string());
    if let Some(socket) = starter {
        let link: Wire<Event, Request> = Wire::new(socket);
        let hint = error.remedy().map(str::to_owned);
        let _ = link.send(&Event::Failed { text: error.to_string(), hint });
    }
    error
}
