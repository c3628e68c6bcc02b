//! Asks systemd for something, by its own `systemctl`: in commands only, never
//! in a supervisor.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use shared::name::GuestName;

use super::generator::adopting;
use super::question;
use crate::cgroup;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Where unit files may lie (systemd.unit(5), "Unit File Load Path").
pub(super) const DIRECTORIES: [&str; 6] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// What wants all guests that are started with the host.
const TARGET: &str = "vservers.target";

/// So long systemd may be unreachable before that is an error.
const CLOSED: Duration = Duration::from_secs(30);

/// How systemd says that a unit is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// `active`, `activating`, `inactive`, `failed` …
    pub active: String,
    /// Why it isn't, in a word: `success`, `exit-code`, `timeout` …
    pub result: String,
    /// What its supervisor has said last.
    pub status: String,
    /// Is it about to be started or stopped?
    pub has_job: bool,
    /// How often systemd has started it again by itself since somebody wanted it to
    /// be started last (systemd.service(5), `NRestarts`); `None` if it doesn't say.
    pub restarts: Option<u32>,
}

/// Does systemd start this installation's guests? It does where it is this
/// host's init, and `vserver install` or a package has brought the units.
pub fn starts_guests(paths: &Paths) -> bool {
    paths.instance().is_empty() && sd_notify::booted().unwrap_or(false) && installed_in().is_some()
}

/// The directory that the units are in.
pub fn installed_in() -> Option<PathBuf> {
    let template = cgroup::unit_template();
    let mut directories = DIRECTORIES.iter().map(PathBuf::from);
    directories.find(|directory| directory.join(&template).exists())
}

/// Has a guest's unit started, and doesn't wait for it.
///
/// # Errors
/// What systemctl(1) says.
pub fn start(name: &GuestName) -> Result<()> {
    let what = format!("cannot start guest '{name}'");
    systemctl(&what, &["start", "--no-block", &cgroup::unit(name)]).map(drop)
}

/// Has a guest's unit stopped, or its start called off, and waits until it is down.
///
/// # Errors
/// What systemctl(1) says.
pub fn stop(name: &GuestName) -> Result<()> {
    let what = format!("cannot stop guest '{name}'");
    systemctl(&what, &["stop", &cgroup::unit(name)]).map(drop)
}

/// Has a unit that has failed started again for a guest that runs on, or finds that
/// it is being started. One that is being stopped, or has another job, is left
/// alone: `false`.
pub fn revive(name: &GuestName) -> bool {
    let words = ["start", "--no-block", "--job-mode=fail", &cgroup::unit(name)];
    look(name).is_ok_and(|unit| match &*unit.active {
        "failed" | "inactive" => systemctl("", &words).is_ok(),
        "activating" => true,
        _ => false,
    })
}

/// How a guest's unit is.
///
/// # Errors
/// What systemctl(1) says.
pub fn look(name: &GuestName) -> Result<Unit> {
    Ok(read(&properties(name, "ActiveState,Result,StatusText,Job,NRestarts")?))
}

/// The same, if systemd answers within this time.
///
/// # Errors
/// When it doesn't, or can't be asked.
pub fn look_within(name: &GuestName, patience: Duration) -> Result<Unit> {
    let what = format!("cannot ask systemd about guest '{name}'");
    let mut command = Command::new("systemctl");
    command.args(["show", "--property=ActiveState", &cgroup::unit(name)]).env("LC_ALL", "C");
    match question::within(&mut command, patience) {
        Ok(Some(said)) => Ok(read(&said)),
        Ok(None) => Err(Error::new(format!("{what}: no answer within {patience:?}"))),
        Err(error) => Err(Error::os(format_args!("{what}: cannot run systemctl"), error)),
    }
}

/// Properties of a guest's unit, one `NAME=VALUE` a line.
pub(super) fn properties(name: &GuestName, names: &str) -> Result<String> {
    let what = format!("cannot ask systemd about guest '{name}'");
    let words = ["show", &format!("--property={names}"), &cgroup::unit(name)];
    let output = systemctl(&what, &words)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Does somebody want a guest's unit to end, or to begin anew?
pub fn is_being_stopped(name: &GuestName) -> bool {
    has_job(name, &["stop", "restart"])
}

/// Does somebody want a guest's unit to begin?
pub fn is_to_start(name: &GuestName) -> bool {
    has_job(name, &["start", "restart"])
}

/// Has its unit one of these jobs? (systemctl(1), "list-jobs")
fn has_job(name: &GuestName, kinds: &[&str]) -> bool {
    let jobs = systemctl("", &["list-jobs", "--no-legend", &cgroup::unit(name)]);
    jobs.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut jobs = text.lines().filter_map(|line| line.split_whitespace().nth(2));
        jobs.any(|job| kinds.contains(&job))
    })
}

/// Has a guest started with the host, or no longer; [`reload`] has systemd know
/// of it.
///
/// # Errors
/// What systemctl(1) says.
pub fn enable(name: &GuestName, enable: bool) -> Result<()> {
    let verb = if enable { "enable" } else { "disable" };
    let what = format!("cannot {verb} guest '{name}'");
    systemctl(&what, &["--quiet", "--no-reload", verb, &cgroup::unit(name)]).map(drop)
}

/// Has configurations read anew: the generator turns them into units.
///
/// # Errors
/// What systemctl(1) says.
pub fn reload() -> Result<()> {
    systemctl("systemd cannot read its units anew", &["daemon-reload"]).map(drop)
}

/// Forgets that a guest's units have failed: there is no such guest any more.
pub fn reset_failed(name: &GuestName) {
    // It complains of those that systemd doesn't know.
    let _ = systemctl("", &["reset-failed", &cgroup::unit(name), &adopting(name)]);
}

/// Which version this host has; 0 when it doesn't say.
pub fn version() -> u32 {
    let output = systemctl("systemd doesn't say its version", &["--version"]);
    output.map_or(0, |output| version_in(&String::from_utf8_lossy(&output.stdout)))
}

/// In `systemd 252 (252.39-1~deb12u2)`, the first line.
fn version_in(text: &str) -> u32 {
    let number =
        text.lines().next().and_then(|line| line.strip_prefix("systemd ")?.split(' ').next());
    number.and_then(|number| number.split(['~', '.']).next()?.parse().ok()).unwrap_or(0)
}

/// Waits until a unit whose guest has ended is no longer on its way down, at
/// most this long.
pub fn settle(name: &GuestName, patience: Duration) {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline && look(name).is_ok_and(|unit| unit.active == "deactivating") {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Has systemd know of units that were put below this prefix, if that is where it looks
/// for them. Where there were none before, `vservers.target` is enabled, as packages do it;
/// later administrators may have disabled it.
///
/// # Errors
/// What systemctl(1) says.
pub fn come(prefix: &Path, are_new: bool) -> Result<()> {
    match (looks_below(prefix), sd_notify::booted().unwrap_or(false)) {
        (false, _) => Ok(()),
        (true, true) => {
            // Should that fail, the units are known all the same.
            let enabled = if are_new { enable_all(true) } else { Ok(()) };
            reload().and(enabled)
        }
        (true, false) => {
            if are_new {
                // In a tree that is about to be a host; or this one has no systemd at all.
                let _ = enable_all(true);
            }
            Ok(())
        }
    }
}

/// Has systemd forget units that are about to be taken away below this prefix, if they are
/// those that it has; [`come`] has it see that they are gone.
pub fn go(prefix: &Path) {
    if installed_in().is_some_and(|directory| directory == units_below(prefix)) {
        // They are not enabled, or this host has no systemd.
        let _ = enable_all(false);
    }
}

fn units_below(prefix: &Path) -> PathBuf {
    prefix.join("lib/systemd/system")
}

fn looks_below(prefix: &Path) -> bool {
    let directory = units_below(prefix);
    DIRECTORIES.iter().any(|known| Path::new(known) == directory)
}

/// Has guests started with the host at all, or none.
fn enable_all(enable: bool) -> Result<()> {
    let verb = if enable { "enable" } else { "disable" };
    let what = format!("cannot {verb} '{TARGET}'");
    systemctl(&what, &["--quiet", "--no-reload", verb, TARGET]).map(drop)
}

/// Are guests that are enabled started with the host?
pub fn starts_any() -> bool {
    systemctl("", &["is-enabled", "--quiet", TARGET]).is_ok()
}

/// Runs systemctl(1). Where systemd refuses the connection it is asked again: for
/// a moment it has been seen to, with version 257, when another command had it
/// read its units anew.
fn systemctl(what: &str, words: &[&str]) -> Result<Output> {
    let deadline = Instant::now() + CLOSED;
    loop {
        let mut command = Command::new("systemctl");
        let output = command
            .args(words)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Error::os(format_args!("{what}: cannot run systemctl"), error))?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("Connection refused") && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
            continue;
        }
        let said = said.trim().lines().next().unwrap_or("systemctl says nothing").to_owned();
        return Err(Error::new(format!("{what}: {said}")));
    }
}

/// Reads what `systemctl show` prints: `NAME=VALUE` lines.
fn read(text: &str) -> Unit {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    Unit {
        active: value("ActiveState"),
        result: value("Result"),
        status: value("StatusText"),
        has_job: !value("Job").is_empty(),
        restarts: value("NRestarts").parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_by_their_names() {
        let text = "ActiveState=failed\nResult=exit-code\nStatusText=a=b\nJob=\nNRestarts=2\n";
        let unit = Unit {
            active: "failed".into(),
            result: "exit-code".into(),
            status: "a=b".into(),
            has_job: false,
            restarts: Some(2),
        };
        assert_eq!(read(text), unit);
        assert_eq!(version_in("systemd 252 (252.39-1~deb12u2)\n+PAM\n"), 252);
        assert_eq!(version_in("systemd 257~rc1 (x)\n"), 257);
        assert_eq!(version_in("upstart"), 0);
        assert!(read("Job=12\n").has_job);
        assert_eq!(read(""), Unit::default());
    }
}
