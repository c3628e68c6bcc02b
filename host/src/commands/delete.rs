//! `vserver delete`: the root directory, the configuration, the actions, the
//! logs, the records of processes and the numbers of stopped guests.
//!
//! Whatever of these is missing is no mistake, so that a deletion that was
//! cut short can be repeated.

use std::fs;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use shared::name::GuestName;

use crate::accounting::Records;
use crate::build::Doomed;
use crate::cli::DeleteArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::control::{Client, Phase};
use crate::error::{Error, Kind, Result};
use crate::ids;
use crate::net;
use crate::paths::Paths;
use crate::plan::network::long_names;
use crate::runtime::Lock;

/// How long a supervisor may take to clean up after its guest.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Deletes one guest after the other, so that questions don't mix.
pub(super) fn run(args: &DeleteArgs, paths: &Paths) -> Result<Exit> {
    for name in &args.names {
        let root = check(paths, name)?;
        if args.dry_run {
            output::print(&listing(paths, name, &root))?;
            continue;
        }
        if !args.yes && !confirm(name)? {
            return Err(Error::usage(format!("guest '{name}' is not deleted")));
        }
        // The answer may have taken its time.
        let lock = Lock::wait(&paths.lock(name))?;
        let root = check(paths, name)?;
        delete(paths, name, &root)?;
        lock.remove(&paths.lock(name));
        output::print(&format!("guest '{name}' is deleted\n"))?;
    }
    Ok(Exit::DONE)
}

/// Where the guest's root is, if the guest can be deleted.
fn check(paths: &Paths, name: &GuestName) -> Result<PathBuf> {
    if is_in_use(paths, name)? {
        return Err(Error::new(format!("guest '{name}' is running"))
            .hint(format!("'vserver stop {name}' first")));
    }
    let root = match config::load(paths, name) {
        Ok(config) => config.root.unwrap_or_else(|| paths.root(name)),
        Err(error) if error.kind() == Kind::NoSuchGuest => {
            let root = paths.root(name);
            let is_known = ids::lookup(paths, name)?.is_some();
            if !is_known && root.symlink_metadata().is_err() {
                return Err(error);
            }
            root
        }
        Err(error) => return Err(error),
    };
    for other in config::names(paths)?.iter().filter(|other| *other != name) {
        // A file with mistakes may name any directory; it is not guessed at.
        let theirs = config::load(paths, other).map(|config| config.root(paths, other));
        if theirs.is_ok_and(|theirs| theirs == root) {
            return Err(Error::new(format!(
                "guest '{name}' has the same root directory as guest '{other}'"
            ))
            .hint(format!("vserver config unset {name} root, then delete it")));
        }
    }
    Ok(root)
}

/// Does it run, or has it open sessions? A supervisor that has stopped its
/// guest is waited for while it cleans up.
fn is_in_use(paths: &Paths, name: &GuestName) -> Result<bool> {
    let deadline = Instant::now() + CLEAN_UP;
    while let Some(client) = Client::connect(paths, name)? {
        let has_ended = client.status().map_or(true, |status| status.phase == Phase::Stopped);
        if !has_ended || Instant::now() > deadline {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}

/// Files that belong to the guest, besides its root.
fn files(paths: &Paths, name: &GuestName) -> Vec<PathBuf> {
    let of_log = |suffix: &str| paths.log_dir().join(format!("{name}.{suffix}"));
    let mut files = Records::new(paths, name).files();
    files.extend([
        paths.config(name),
        paths.actions(name),
        paths.log(name),
        of_log("log.1"),
        of_log("supervisor.log"),
        of_log("supervisor.log.1"),
    ]);
    files
}

fn listing(paths: &Paths, name: &GuestName, root: &Path) -> String {
    std::iter::once(root.to_owned())
        .chain(files(paths, name))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| format!("would delete '{}'\n", path.display()))
        .collect()
}

/// Asks, on a terminal; elsewhere nobody can be asked.
fn confirm(name: &GuestName) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::usage(format!("guest '{name}' is not deleted without '--yes'")));
    }
    output::confirm(&format!("Are you sure you want to delete the vserver {name}"))
}

/// The root leaves its place first, and its files go last: whenever this is
/// cut short, the guest is there whole, or can be deleted again.
fn delete(paths: &Paths, name: &GuestName, root: &Path) -> Result<()> {
    let doomed = Doomed::take(root, name)?;
    for file in files(paths, name) {
        match fs::remove_file(&file) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(Error::path("remove", &file, cause));
            }
            _ => {}
        }
    }
    // Those of a guest all of which was killed at once.
    net::remove(&long_names(name, &paths.instance()))
        .map_err(|error| Error::os(format_args!("cannot remove the links of '{name}'"), error))?;
    ids::release(paths, name)?;
    doomed.map_or(Ok(()), Doomed::remove)
}
