//! `vserver device`: devices of a guest, in its file and in the guest that
//! runs, or in neither.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use shared::name::GuestName;

use crate::cgroup::GuestCgroup;
use crate::cli::{DeviceAction, DeviceArgs};
use crate::commands::{Exit, output};
use crate::config::{self, DeviceRule, edit};
use crate::control::{Client, Snapshot};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::launch::{self, KeptDevices, RunningDevices};
use crate::membership::{self, Context, Membership};
use crate::paths::Paths;
use crate::plan::devices::{self, Given};
use crate::report::devices as report;
use crate::runtime::{Lock, RunDir};

/// Carries out what is asked of devices.
pub(super) fn run(args: &DeviceArgs, paths: &Paths) -> Result<Exit> {
    match &args.action {
        DeviceAction::List { name, json } => list(paths, name, *json),
        DeviceAction::Add { name, path, rights, runtime } => {
            let device = parse(&format!("{path} {rights}"))?;
            let unable = |why: &str| {
                Error::new(format!("cannot give guest '{name}' the device '{path}': {why}"))
            };
            if devices::is_everybodys(&device) {
                return Err(unable("every guest has it"));
            }
            let given = look(&device).map_err(|error| error.context(unable_to_add(name)))?;
            let given = Given { is_for_this_boot: *runtime, ..given };
            let wish = Wish::Add(given);
            change(paths, name, &wish, *runtime)
        }
        DeviceAction::Remove { name, path, runtime } => {
            let device = parse(path)?;
            change(paths, name, &Wish::Remove(device), *runtime)
        }
    }
}

fn unable_to_add(name: &GuestName) -> String {
    format!("cannot give guest '{name}' a device")
}

fn parse(text: &str) -> Result<DeviceRule> {
    text.parse().map_err(Error::usage)
}

/// What is to become of one device.
enum Wish {
    Add(Given),
    Remove(DeviceRule),
}

impl Wish {
    fn name(&self) -> &str {
        match self {
            Self::Add(given) => &given.device.name,
            Self::Remove(device) => &device.name,
        }
    }

    /// Of which device the guest may have removed the node.
    fn again(&self) -> Option<&str> {
        matches!(self, Self::Add(_)).then(|| self.name())
    }

    /// The running guest's list with this done.
    fn of(&self, now: &[Given]) -> Vec<Given> {
        match self {
            Self::Add(given) => devices::with(now, given.clone()),
            Self::Remove(device) => devices::without(now, &device.name),
        }
    }
}

/// The host's device, if it is one for a guest.
fn look(device: &DeviceRule) -> Result<Given> {
    let path = Path::new("/dev").join(&device.name);
    let given = launch::look_at_device(device).map_err(|cause| match cause.raw_os_error() {
        Some(libc::ENODEV) => Error::new(format!("'{}' is no device", path.display())),
        _ => Error::path("examine", &path, cause),
    })?;
    let refused = |why: &str| Error::new(format!("'{}': {why}", path.display()));
    if let Some(why) = given.danger() {
        return Err(refused(why));
    }
    if given.is_block && is_used(&path) {
        return Err(refused(
            "the host uses it, for a mounted file system or swap space for example",
        )
        .hint("have the host let go of it first, or mount a directory: docs/mounts.md"));
    }
    Ok(given)
}

/// Does the host use this block device? Its kernel refuses to share it then
/// (open(2), `O_EXCL` without `O_CREAT`).
fn is_used(path: &Path) -> bool {
    let flags = libc::O_EXCL | libc::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened.is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
}

fn list(paths: &Paths, name: &GuestName, json: bool) -> Result<Exit> {
    let config = config::load(paths, name)?;
    let now = match running(paths, name)? {
        Some(status) => kept(paths, name, &status)?.given,
        None => Vec::new(),
    };
    let rows = report::rows(&now, &config.devices.allow);
    output::print(&if json { report::json(&rows) } else { report::text(&rows) })?;
    Ok(Exit::DONE)
}

/// How a guest is that has a PID 1.
fn running(paths: &Paths, name: &GuestName) -> Result<Option<Snapshot>> {
    let found = Client::find(paths, name)?.map(|(_, status)| status);
    Ok(found.filter(|status| status.init_pid > 0))
}

fn kept(paths: &Paths, name: &GuestName, status: &Snapshot) -> Result<KeptDevices> {
    KeptDevices::read(&RunDir::new(paths, name), status.boot).map_err(|cause| {
        Error::os(format_args!("cannot see which devices guest '{name}' has"), cause)
            .hint(format!("its next boot notes them: vserver reboot {name}"))
    })
}

/// How often a guest may have been rebooted since the command began.
const BOOTS: usize = 5;

fn change(paths: &Paths, name: &GuestName, wish: &Wish, runtime: bool) -> Result<Exit> {
    let _lock = Lock::wait(&paths.lock(name))?;
    let before = config::text(paths, name)?;
    let after = if runtime { before.clone() } else { edited(paths, name, &before, wish)? };
    config::judge_text(paths, name, &after)?;
    let mut status = running(paths, name)?;
    if runtime && status.is_none() {
        return Err(Error::not_running(name));
    }
    let mut had = None;
    match &status {
        Some(status) => {
            let now = kept(paths, name, status)?;
            if let Wish::Remove(device) = wish
                && after == before
                && now.given.iter().all(|given| given.device.name != device.name)
            {
                return Err(lacks(name, device));
            }
            let then = wish.of(&now.given);
            apply(paths, name, status, &now, &then, wish.again())?;
            had = Some(now.given);
        }
        None => {
            if let Wish::Remove(device) = wish
                && after == before
            {
                return Err(lacks(name, device));
            }
        }
    }
    if after != before
        && let Err(error) = config::set_text(paths, name, &after)
    {
        if let (Some(status), Some(had)) = (&status, &had)
            && let Ok(now) = kept(paths, name, status)
        {
            let _ = apply(paths, name, status, &now, had, None);
        }
        return Err(error);
    }
    // A guest that has been rebooted meanwhile may have read the old file.
    for _ in 0..BOOTS {
        let boot = |status: &Option<Snapshot>| status.as_ref().map(|status| status.boot);
        let then = running(paths, name)?;
        if boot(&then) == boot(&status) {
            break;
        }
        if let Some(status) = &then {
            let now = kept(paths, name, status)?;
            let wanted = if runtime { now.given.clone() } else { wish.of(&now.given) };
            apply(paths, name, status, &now, &wanted, None)?;
        }
        status = then;
    }
    Ok(Exit::DONE)
}

fn lacks(name: &GuestName, device: &DeviceRule) -> Error {
    Error::new(format!("guest '{name}' has no device '/dev/{}'", device.name))
        .hint(format!("those that it has: vserver device list {name}"))
}

/// The text of the guest's file with this done.
fn edited(paths: &Paths, name: &GuestName, text: &str, wish: &Wish) -> Result<String> {
    // With what the site's defaults allow: a list of the guest's own replaces
    // theirs.
    let mut list = config::load(paths, name)?.devices.allow;
    let before = list.clone();
    let place = list.iter().position(|device| device.name == wish.name());
    match (wish, place) {
        (Wish::Add(given), Some(place)) => list[place] = given.device.clone(),
        (Wish::Add(given), None) => list.push(given.device.clone()),
        (Wish::Remove(_), Some(place)) => drop(list.remove(place)),
        (Wish::Remove(_), None) => {}
    }
    if list == before {
        return Ok(text.to_owned());
    }
    let key = "devices.allow";
    let words = match list.as_slice() {
        [] => vec!["[]".to_owned()],
        list => list.iter().map(DeviceRule::to_string).collect(),
    };
    edit::set(text, key, &words).map_err(|problems| super::config::refused(key, &problems))
}

/// Gives a running guest the devices of its file, and leaves it those that it
/// was given for this boot.
pub(super) fn reload(paths: &Paths, name: &GuestName) -> Result<()> {
    let _lock = Lock::wait(&paths.lock(name))?;
    let config = config::load(paths, name)?;
    let Some(status) = running(paths, name)? else { return Ok(()) };
    let now = match kept(paths, name, &status) {
        Ok(now) => now,
        // An earlier version has started it.
        Err(error) => {
            output::warn(error);
            return Ok(());
        }
    };
    let mut configured = Vec::new();
    for device in &config.devices.allow {
        let old = now.given.iter().find(|given| given.device == *device && !given.is_for_this_boot);
        configured.push(match old {
            Some(old) => old.clone(),
            None => look(device).map_err(|error| error.context(unable_to_add(name)))?,
        });
    }
    let then = devices::reloaded(&now.given, configured);
    if then == now.given {
        return Ok(());
    }
    apply(paths, name, &status, &now, &then, None)
}

/// Has a running guest have these devices, `again` with a node if it has
/// removed that. After an error it has those that it had.
fn apply(
    paths: &Paths,
    name: &GuestName,
    status: &Snapshot,
    now: &KeptDevices,
    then: &[Given],
    again: Option<&str>,
) -> Result<()> {
    let unable = |cause: io::Error| {
        let hint = match cause.raw_os_error() {
            Some(libc::EEXIST) => {
                "the guest has something else of that name in its /dev: see there"
            }
            Some(libc::ESTALE) => {
                "the guest has put something else in the place of its /dev: reboot it"
            }
            _ => "nothing was changed",
        };
        Error::os(format_args!("cannot change devices of guest '{name}'"), cause).hint(hint)
    };
    if now.is_nested {
        let error = Error::new(format!("cannot change devices of guest '{name}' while it runs"));
        return Err(error.hint(format!(
            "a guest's own guests get them when they boot: vserver config set {name} devices.allow"
        )));
    }
    let cgroup = GuestCgroup::new(paths, name)?;
    let root = root(paths, name, status)?;
    let running = RunningDevices::find(&root, now, &cgroup).map_err(unable)?;
    running.change(&now.given, then, again).map_err(unable)?;
    let noted = KeptDevices { given: then.to_vec(), ..now.clone() };
    if let Err(cause) = noted.write(&RunDir::new(paths, name)) {
        let _ = running.change(then, &now.given, None);
        return Err(unable(cause));
    }
    Ok(())
}

/// The root of a guest that runs.
fn root(paths: &Paths, name: &GuestName, status: &Snapshot) -> Result<RootDir> {
    let pid = status.init_pid;
    let path = PathBuf::from(format!("/proc/{pid}/root"));
    let gone = |cause: io::Error| Error::path("open", &path, cause);
    let membership = Membership::read(paths)?;
    let init = membership.open(&Context::Guest(name.clone()), pid).map_err(gone)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, &path, flags, Mode::empty());
    // If it still lives, the number was its own until now.
    membership::signal(&init, 0).map_err(gone)?;
    let root = root.map_err(|cause| gone(cause.into()))?;
    Ok(RootDir::from_fd(root, path.clone()))
}
