//! The administrator's script `/etc/vservers/NAME.sh`, run on the host.
//!
//! It is called as `NAME.sh ACTION NAME`, with the guest's particulars in
//! the environment, and has a minute. It is a file of the host's: nothing of
//! the guest is ever executed here.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::variables;

/// Longest time that a script may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the script is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Before anything of a boot exists; a failure stops the start.
    PreStart,
    /// The guest has reached its runlevel.
    PostStart,
    /// Before the guest is told to shut down.
    PreStop,
    /// Nothing of the boot is left.
    PostStop,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::PreStart => "pre-start",
            Self::PostStart => "post-start",
            Self::PreStop => "pre-stop",
            Self::PostStop => "post-stop",
        }
    }
}

/// Runs the guest's script if it has one that is executable.
///
/// # Errors
/// When it can't be run, fails, or takes longer than a minute.
pub fn run(plan: &Plan, action: Action) -> Result<()> {
    let script = &plan.actions;
    let executable = std::fs::metadata(script)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if !executable {
        return Ok(());
    }
    let what = format!("'{} {}' of guest '{}'", script.display(), action.name(), plan.name);
    let child = Command::new(script)
        .arg(action.name())
        .arg(plan.name.as_str())
        .env_remove(variables::ALLOCATOR.0)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .env("VSERVER_NAME", plan.name.as_str())
        .env("VSERVER_ACTION", action.name())
        .env("VSERVER_CONTEXT", plan.context.to_string())
        .env("VSERVER_ROOT", &plan.place.root)
        .env("VSERVER_HOSTNAME", &plan.hostname)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| Error::os(format_args!("cannot run {what}"), error))?;
    match wait(child).map_err(|error| Error::os(format_args!("cannot wait for {what}"), error))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Error::new(format!("{what} failed: {status}"))),
        None => Err(Error::new(format!("{what} took longer than {} s", PATIENCE.as_secs()))),
    }
}

/// `None` when it had to be killed.
fn wait(mut child: Child) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
