//! `vserver reexec`: after an upgrade, supervisors of guests that run become
//! this program. Each stays the same process, so that systemd sees no change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use shared::name::GuestName;

use crate::cli::ReexecArgs;
use crate::commands::{Exit, each, output, select};
use crate::control::{Client, Request};
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::runtime::RunDir;

/// A supervisor takes over at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Replaces. Of all guests, or of those with a mark, the ones that don't run
/// are no matter.
pub(super) fn run(args: &ReexecArgs, paths: &Paths) -> Result<Exit> {
    let names = select::guests_that_run_too(&args.guests, paths)?;
    let own = Path::new("/proc/self/exe");
    let program = fs::read_link(own).map_err(|error| Error::path("read", own, error))?;
    let is_chosen = args.guests.names.is_empty();
    each(&names, |name| {
        if !replace(paths, name, &program)? {
            if !is_chosen {
                return Err(Error::not_running(name));
            }
            return Ok(Exit::DONE);
        }
        Ok(Exit::DONE)
    })
}

/// Returns whether the guest has a supervisor.
fn replace(paths: &Paths, name: &GuestName, program: &Path) -> Result<bool> {
    match Client::find(paths, name) {
        Ok(None) => return Ok(false),
        Ok(Some((_, before))) if executes(before.supervisor_pid, program) => {
            output::remark(format_args!(
                "the supervisor of guest '{name}' is this program already"
            ));
            return Ok(true);
        }
        Ok(Some((client, _))) => {
            match client.ask(&Request::Reexec(program.to_owned())) {
                // Killed meanwhile: the next one that is started is this program.
                Err(error) if error.kind() == Kind::NotRunning => {}
                other => drop(other?),
            }
        }
        // It knows no words of this version's, and needn't: the keeper has all that it
        // has, and the next one that is started is this program.
        Err(error) if error.kind() == Kind::OtherVersion => kill(&RunDir::new(paths, name)),
        Err(error) => return Err(error),
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match Client::find(paths, name) {
            Ok(Some((_, now))) if executes(now.supervisor_pid, program) => return Ok(true),
            Ok(None) => return Ok(false),
            Err(error) if error.kind() != Kind::OtherVersion => return Err(error),
            _ => thread::sleep(Duration::from_millis(20)),
        }
    }
    Err(Error::new(format!(
        "the supervisor of guest '{name}' has not become '{}'",
        program.display()
    ))
    .hint("the guest goes on; its log may say why"))
}

/// Kills the supervisor, and none but that.
fn kill(run: &RunDir) {
    let Some(pid) = run.supervisor().and_then(Pid::from_raw) else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if run.supervisor() == Some(pid.as_raw_nonzero().get()) {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
}

/// Is this the program that a process executes? By its inode: an upgrade puts
/// another file under the same name.
fn executes(pid: i32, program: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let own = file(&PathBuf::from(format!("/proc/{pid}/exe")));
    own.is_some() && own == file(program)
}
