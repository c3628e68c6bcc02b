//! `vserver demo`: what a user does with a guest, from build to delete.
//!
//! Every step is this program called as a user would call it, its command
//! line shown before its output. Unless the user's `VSERVER_PREFIX` says
//! otherwise everything lies below a directory of its own, so that nothing of
//! the host's guests is touched.

use std::env;
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::DemoArgs;
use crate::commands::{Exit, output};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::variables;

/// The guest's name; verbs such as "demo" can't be one.
const GUEST: &str = "hello";

/// From `reboot` inside until the guest is up again.
const REBOOT_LIMIT: Duration = Duration::from_secs(60);

/// Runs the whole tour; cleans up unless asked to keep the guest.
pub(super) fn run(args: &DemoArgs, paths: &Paths) -> Result<Exit> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::of(Kind::Permission, "only root can build and boot a guest"));
    }
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let stage = Stage::new(paths, interrupt)?;
    stage.introduce()?;
    let built = stage.vserver(&["build", GUEST]);
    let shown = built.and_then(|()| stage.tour());
    if args.keep && shown.is_ok() {
        stage.say(&format!("The guest stays. Go on with:\n\n{}", stage.how_to_go_on()))?;
        return Ok(Exit::DONE);
    }
    let cleaned = stage.clean_up();
    shown?;
    cleaned?;
    stage.say(
        "That was all. For a guest of your own:\n\n  \
         vserver build web\n  vserver start web\n  vserver enter web\n",
    )?;
    Ok(Exit::DONE)
}

/// Where the demo takes place.
struct Stage {
    prefix: PathBuf,
    /// Was the prefix made for this demo?
    is_own: bool,
    interrupt: Interrupt,
}

impl Stage {
    fn new(paths: &Paths, interrupt: Interrupt) -> Result<Self> {
        let given = env::var_os(variables::PREFIX).is_some_and(|prefix| !prefix.is_empty());
        if given {
            return Ok(Self { prefix: paths.prefix().to_owned(), is_own: false, interrupt });
        }
        // Not /tmp: that may be in memory, and a guest is some 200 MB.
        let prefix = PathBuf::from(format!("/var/tmp/vserver-demo-{}", process::id()));
        std::fs::create_dir(&prefix)
            .map_err(|cause| Error::path("create directory", &prefix, cause))?;
        Ok(Self { prefix, is_own: true, interrupt })
    }

    fn introduce(&self) -> Result<()> {
        self.say(&format!("Everything of this demo lies below '{}'.\n", self.prefix.display()))
    }

    /// From the first boot to the shutdown.
    fn tour(&self) -> Result<()> {
        self.vserver(&["start", GUEST])?;
        if !io::stderr().is_terminal() {
            // Off a terminal 'start' shows failures only.
            self.vserver(&["logs", GUEST])?;
        }
        self.vserver(&["exec", GUEST, "--", "ps", "-ef"])?;
        self.vserver(&["exec", GUEST, "--", "uptime"])?;
        let before = self.status(Stdio::inherit())?;
        self.vserver(&["exec", GUEST, "--", "reboot"])?;
        self.wait_for_reboot(before.init_pid)?;
        self.vserver(&["logs", GUEST])?;
        self.vserver(&["status", GUEST])?;
        self.vserver(&["stop", GUEST])
    }

    /// Waits until the guest is up again with another PID 1.
    fn wait_for_reboot(&self, old_init: Option<i64>) -> Result<()> {
        self.say("(waiting until it is up again)\n")?;
        let deadline = Instant::now() + REBOOT_LIMIT;
        while Instant::now() < deadline {
            self.interrupt.check()?;
            let now = self.status(Stdio::inherit())?;
            if now.state == "running" && now.init_pid.is_some() && now.init_pid != old_init {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        let seconds = REBOOT_LIMIT.as_secs();
        Err(Error::new(format!("guest '{GUEST}' was not up again after {seconds} s")))
    }

    /// Removes the guest, and the prefix if it was made here.
    fn clean_up(&self) -> Result<()> {
        // After a failed build there is none.
        if self.status(Stdio::null()).is_ok_and(|status| status.state != "stopped") {
            self.command(&["stop", GUEST, "--timeout", "10"]).status().map_err(cannot_run)?;
        }
        self.command(&["delete", GUEST, "--yes"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(cannot_run)?;
        if self.is_own {
            remove(&self.prefix)?;
        }
        Ok(())
    }

    /// Shows a command line and runs it.
    fn vserver(&self, arguments: &[&str]) -> Result<()> {
        self.interrupt.check()?;
        self.say(&format!("\n$ vserver {}\n", arguments.join(" ")))?;
        let status = self.command(arguments).status().map_err(cannot_run)?;
        self.interrupt.check()?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(format!("'vserver {}' failed ({status})", arguments.join(" "))))
    }

    /// This very program, even if its file has been replaced meanwhile.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("vserver").args(arguments);
        command.env(variables::PREFIX, &self.prefix).stdin(Stdio::null());
        command
    }

    fn status(&self, complaints: Stdio) -> Result<Status> {
        let output = self.command(&["status", GUEST, "--json"]).stderr(complaints).output();
        let output = output.map_err(cannot_run)?;
        Status::parse(&output.stdout)
            .ok_or_else(|| Error::new(format!("cannot read the status of guest '{GUEST}'")))
    }

    fn how_to_go_on(&self) -> String {
        let export = if self.is_own {
            format!("  export {}={}\n", variables::PREFIX, self.prefix.display())
        } else {
            String::new()
        };
        format!(
            "{export}  vserver start {GUEST}\n  vserver enter {GUEST}\n  \
             vserver stop {GUEST}\n  vserver delete {GUEST}\n"
        )
    }

    fn say(&self, text: &str) -> Result<()> {
        output::print(text)
    }
}

/// What the demo reads of `status --json`.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    state: String,
    init_pid: Option<i64>,
}

impl Status {
    /// One guest's object, also when it comes in a list.
    fn parse(json: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(json).ok()?;
        let guest = value.get(0).unwrap_or(&value);
        let state = guest.get("state")?.as_str()?.to_owned();
        let init_pid = guest.get("init_pid").and_then(serde_json::Value::as_i64);
        Some(Self { state, init_pid })
    }
}

fn cannot_run(cause: io::Error) -> Error {
    Error::os("cannot run 'vserver'", cause)
}

/// Removes the demo's own directory.
fn remove(prefix: &Path) -> Result<()> {
    std::fs::remove_dir_all(prefix).map_err(|cause| Error::path("remove", prefix, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_alone_and_in_a_list() {
        let up = Status { state: "running".to_owned(), init_pid: Some(7) };
        assert_eq!(Status::parse(br#"{"state":"running","init_pid":7}"#), Some(up));
        let down = Status { state: "stopped".to_owned(), init_pid: None };
        assert_eq!(Status::parse(br#"[{"state":"stopped","init_pid":null}]"#), Some(down));
        assert_eq!(Status::parse(b"nonsense"), None);
    }
}
