//! What the unit `vserver@NAME.service` calls beside the supervisor itself.

use std::env;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};
use shared::message::Power;
use shared::name::GuestName;

use crate::cgroup::{self, GuestCgroup, SUPERVISOR};
use crate::cli::Shutdown;
use crate::commands::{Exit, lifecycle};
use crate::control::{Client, Request, spawn_supervisor};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runtime::RunDir;
use crate::systemd;

/// Until a supervisor has killed what is left and cleaned up: it gives the guest
/// a few seconds, and the kernel some more to bury its processes.
const PATIENCE: Duration = Duration::from_secs(60);

const HOUR: Duration = Duration::from_secs(3600);

/// Moves this process out of the unit's own cgroup, if systemd has put it there
/// and not into the supervisor's: does it need a guard then?
///
/// # Errors
/// Those of mkdir(2), and of writing `cgroup.procs`.
pub fn needs_guard(paths: &Paths, name: &GuestName) -> Result<bool> {
    let Some(unit) = cgroup::own_unit(paths, name) else { return Ok(false) };
    if cgroup::own()? != unit {
        return Ok(false);
    }
    let leaf = unit.join(SUPERVISOR);
    let moved = fs::create_dir_all(&leaf).and_then(|()| cgroup::enter(&leaf));
    moved.map_err(|error| Error::path("move to", &leaf, error))?;
    Ok(true)
}

/// Has an end of the guest that a killed supervisor had noted count no more, if this
/// process was started for somebody who wants the guest to run, and not by
/// `Restart=` in the place of the killed one. What is left of the guest has to be
/// cleaned up first, whoever wants what: a command that meets it has the unit
/// started as well.
pub fn forget_end_if_wanted(paths: &Paths, name: &GuestName) {
    let is_wanted = || systemd::look(name).is_ok_and(|unit| unit.restarts == Some(0));
    RunDir::new(paths, name).forget_end_if(|| !is_left(paths, name) && is_wanted());
}

/// Is there anything of a guest's boot, be it only to be cleaned up, or of the next?
fn is_left(paths: &Paths, name: &GuestName) -> bool {
    let populated = |cgroup: GuestCgroup| GuestCgroup::populated(cgroup.outer());
    let run = RunDir::new(paths, name);
    run.keeper().exists() || run.is_due() || GuestCgroup::new(paths, name).is_ok_and(populated)
}

/// Is the guest's unit there, or started again by itself? From version 254 on systemd
/// starts what stands in `OnFailure=` then, too.
pub fn is_coming(name: &GuestName) -> bool {
    systemd::look(name).is_ok_and(|unit| !matches!(&*unit.active, "failed" | "inactive"))
}

/// `ExecStop=`: the guest's own shutdown. What has asked for it is noted for
/// [`stopped`].
///
/// # Errors
/// As `stop`.
pub fn stop(paths: &Paths, name: &GuestName) -> Result<Exit> {
    // Without the directory there is no guest.
    let run = RunDir::new(paths, name);
    let _ = fs::write(run.stopping(), "");
    lifecycle::shut_down(paths, name, Power::PowerOff, &Shutdown::default())?;
    // The next start is somebody's wish: nobody takes a killed one's place now.
    run.forget_end();
    Ok(Exit::DONE)
}

/// `ExecStopPost=`: systemd has ended the supervisor. If that was a stop that
/// didn't end in its time, the guest goes too; if it was one without
/// `ExecStop=`, since the unit wasn't active yet, the guest is shut down; else it
/// is left for the next supervisor (`$SERVICE_RESULT`, systemd.exec(5)).
///
/// # Errors
/// When what is left can't be removed.
pub fn stopped(paths: &Paths, name: &GuestName) -> Result<Exit> {
    let result = env::var("SERVICE_RESULT").unwrap_or_default();
    let is_late = result == "timeout" && RunDir::new(paths, name).stopping().exists();
    // One that was killed when a stop had just begun is followed by no other.
    if !is_late && result != "success" && !systemd::is_being_stopped(name) {
        return Ok(Exit::DONE);
    }
    // A shutdown that isn't forced has as long as systemd gives it.
    let (timeout_ms, patience) = if is_late { (Some(0), PATIENCE) } else { (None, HOUR) };
    tell_supervisors(paths, name);
    let order = Request::Stop { power: Power::PowerOff, timeout_ms, no_kill: false };
    let deadline = Instant::now() + patience;
    while is_left(paths, name) {
        if Instant::now() > deadline {
            return Err(Error::new(format!("what is left of guest '{name}' doesn't end")));
        }
        // A guard may have started one itself: of two, one ends at once.
        let client = match Client::reach(paths, name)? {
            Some(client) => client,
            None => spawn_supervisor(name, &["--take-over"])?,
        };
        // One that has only to clean up may have ended.
        if client.send(&order).is_ok() {
            while matches!(client.next(Some(deadline)), Ok(Some(_))) {}
        }
        thread::sleep(Duration::from_millis(20));
    }
    RunDir::new(paths, name).forget_end();
    Ok(Exit::DONE)
}

/// SIGTERM to whatever is left of the unit's own. systemd doesn't wait for a
/// main process that isn't its child and kills it at once (systemd 252), and its
/// guard must not take that for a crash and start the guest anew.
fn tell_supervisors(paths: &Paths, name: &GuestName) {
    let Some(unit) = cgroup::own_unit(paths, name) else { return };
    for id in cgroup::ids(&unit.join(SUPERVISOR), "cgroup.procs") {
        if let Some(pid) = Pid::from_raw(id)
            && pid != getpid()
        {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}
