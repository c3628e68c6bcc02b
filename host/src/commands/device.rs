//! `vserver device`: devices of a guest, in its file and in the guest that
//! runs, or in neither.

mod apply;

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use shared::name::GuestName;

use crate::cli::{DeviceAction, DeviceArgs};
use crate::commands::{Exit, output, turn};
use crate::config::{self, DeviceRule, edit};
use crate::error::{Error, Result};
use crate::launch::{self, KeptDevices};
use crate::paths::Paths;
use crate::plan::devices::{self, Given};
use crate::report::devices as report;

use apply::{follow, kept, running};

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
            change(paths, name, &Wish::Add(device), *runtime)
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
    Add(DeviceRule),
    Remove(DeviceRule),
}

impl Wish {
    fn name(&self) -> &str {
        match self {
            Self::Add(device) | Self::Remove(device) => &device.name,
        }
    }

    /// Of which device the guest may have removed the node.
    fn again(&self) -> Option<&str> {
        matches!(self, Self::Add(_)).then(|| self.name())
    }

    /// What the running guest has with this done.
    fn of(&self, name: &GuestName, now: &KeptDevices, runtime: bool) -> Result<KeptDevices> {
        let mut then = now.clone();
        then.removed.retain(|removed| removed != self.name());
        match self {
            Self::Add(device) => {
                let given = look_or_narrow(device, now)
                    .map_err(|error| error.context(unable_to_add(name)))?;
                let given = Given { is_for_this_boot: runtime, ..given };
                then.given = devices::with(&now.given, given);
            }
            Self::Remove(device) => {
                then.given = devices::without(&now.given, &device.name);
                if runtime {
                    then.removed.push(device.name.clone());
                }
            }
        }
        Ok(then)
    }
}

/// The host's device, if it is one for a guest. A guest that has it can get
/// fewer rights whatever has become of it.
fn look_or_narrow(device: &DeviceRule, now: &KeptDevices) -> Result<Given> {
    look(device).or_else(|error| {
        let old = now.given.iter().find(|old| old.device.name == device.name);
        match old.filter(|old| old.device != *device && devices::allows(old, device)) {
            Some(old) => {
                Ok(Given { device: device.clone(), is_for_this_boot: false, ..old.clone() })
            }
            None => Err(error),
        }
    })
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

fn change(paths: &Paths, name: &GuestName, wish: &Wish, runtime: bool) -> Result<Exit> {
    let _lock = turn::wait(paths, name)?;
    let before = config::text(paths, name)?;
    let after = if runtime { before.clone() } else { edited(paths, name, &before, wish)? };
    config::judge_text(paths, name, &after)?;
    let had = match running(paths, name)? {
        Some(status) => Some(kept(paths, name, &status)?),
        None if runtime => return Err(Error::not_running(name)),
        None => None,
    };
    if let (Wish::Add(device), None) = (wish, &had)
        && let Err(error) = look(device)
    {
        output::warn(format_args!("guest '{name}' can't be started with it: {error}"));
    }
    if let Wish::Remove(device) = wish
        && after == before
        && had.iter().flat_map(|had| &had.given).all(|given| given.device.name != device.name)
    {
        return Err(lacks(name, device));
    }
    let wanted = |now: &KeptDevices| wish.of(name, now, runtime);
    let boot = follow(paths, name, wish.again(), wanted)?;
    if after == before {
        return Ok(Exit::DONE);
    }
    // What others have changed meanwhile stays.
    if let Err(error) = config::change(paths, name, |text| edited(paths, name, text, wish)) {
        if let Some(had) = had.filter(|had| Some(had.boot) == boot) {
            // What was taken from it isn't given back.
            let undone = |now: &KeptDevices| {
                let given = devices::narrowed(&now.given, &had.given);
                Ok(KeptDevices { given, removed: had.removed.clone(), ..now.clone() })
            };
            let _ = follow(paths, name, None, undone);
        }
        return Err(error);
    }
    // A guest that has been rebooted meanwhile may have read the old file.
    let again = || {
        if running(paths, name)?.map(|status| status.boot) != boot {
            follow(paths, name, None, wanted)?;
        }
        Ok(())
    };
    again().map_err(|error: Error| {
        error
            .context(format_args!(
                "the file of guest '{name}' is changed, but it was rebooted meanwhile"
            ))
            .hint(format!("have it get what its file says: vserver reload {name}"))
    })?;
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
        (Wish::Add(device), Some(place)) => list[place] = device.clone(),
        (Wish::Add(device), None) => list.push(device.clone()),
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
/// was given for this boot, and without those that were taken for this boot.
pub(super) fn reload(paths: &Paths, name: &GuestName) -> Result<()> {
    let _lock = turn::wait(paths, name)?;
    let config = config::load(paths, name)?;
    let Some(status) = running(paths, name)? else { return Ok(()) };
    // An earlier version has started it.
    if let Err(error) = kept(paths, name, &status) {
        output::warn(error);
        return Ok(());
    }
    // One that can't be given keeps none from being taken.
    let lacking = RefCell::new(None);
    follow(paths, name, None, |now| {
        let mut configured = Vec::new();
        for device in &config.devices.allow {
            let old = now.given.iter().find(|old| old.device == *device && !old.is_for_this_boot);
            match old.cloned().map_or_else(|| look_or_narrow(device, now), Ok) {
                Ok(given) => configured.push(given),
                Err(_) if now.removed.contains(&device.name) => {}
                Err(error) => drop(lacking.borrow_mut().get_or_insert(error)),
            }
        }
        let given = devices::reloaded(&now.given, &now.removed, configured);
        Ok(KeptDevices { given, ..now.clone() })
    })?;
    match lacking.into_inner() {
        Some(error) => Err(error.context(unable_to_add(name))),
        None => Ok(()),
    }
}
