//! `vserver delete`: the root directory, its snapshots, the configuration, the actions, the
//! logs, the records of processes, the settings of its units and the numbers of stopped
//! guests.
//!
//! Whatever of these is missing is no mistake, so that a deletion that was
//! cut short can be repeated.

use std::fs;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::build::{Doomed, Snapshots, real_root};
use crate::cli::DeleteArgs;
use crate::commands::{Exit, based, belongings, output, turn};
use crate::config::{self, Place};
use crate::control::at_rest;
use crate::error::{Error, Kind, Result};
use crate::ids;
use crate::paths::Paths;
use crate::storage::Scratch;
use crate::supervisor;
use crate::systemd;
use crate::tree::Check;

/// Deletes one guest after the other, so that questions don't mix.
pub(super) fn run(args: &DeleteArgs, paths: &Paths) -> Result<Exit> {
    for name in &args.names {
        let root = check(paths, name)?;
        if args.dry_run {
            output::print(&listing(paths, name, &root))?;
            continue;
        }
        let question = format!("Are you sure you want to delete the vserver {name}");
        ask(args.yes, &question, || format!("guest '{name}' is not deleted"))?;
        now(paths, name, &|| Ok(()))?;
        output::print(&format!("guest '{name}' is deleted\n"))?;
    }
    Ok(Exit::DONE)
}

/// Deletes one guest without asking. `may_wait` ends the waiting for others.
///
/// # Errors
/// When it isn't stopped, or something of it can't be removed.
pub(super) fn now(paths: &Paths, name: &GuestName, may_wait: Check<'_>) -> Result<()> {
    // A question may have taken its time.
    let lock = turn::wait_unless(paths, name, may_wait)?;
    let _at_rest = at_rest::keep(paths, name)?;
    let root = check(paths, name)?;
    supervisor::clear_after(paths, name)?;
    delete(paths, name, &root)?;
    if systemd::starts_guests(paths) {
        // Only what nobody looks at is left if it doesn't do that.
        if systemd::is_linked(name) {
            let _ = systemd::enable(name, false);
        }
        systemd::reset_failed(name);
        let _ = systemd::reload();
    }
    lock.remove(&paths.lock(name));
    Ok(())
}

/// Where the guest's root is, if the guest can be deleted.
fn check(paths: &Paths, name: &GuestName) -> Result<PathBuf> {
    at_rest::check(paths, name)?;
    let root = match config::load(paths, name) {
        Ok(config) => config.root(paths, name),
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
    let what = || format!("cannot delete guest '{name}'");
    let real = real_root(&root, what)?;
    based::refuse_shared(paths, name, &root).map_err(|error| {
        error.hint(match real == root {
            true => format!("vserver config unset {name} root, then delete it"),
            false => format!("rm {}, then delete it", root.display()),
        })
    })?;
    based::refuse_around(paths, name, &root)?;
    for directory in [&*root, &*based::real(&root), snapshots(name, &root).directory()] {
        based::refuse_for_others(paths, name, directory, what)?;
    }
    Ok(root)
}

/// Those of a guest whose files are there; as what doesn't matter to their end.
pub(super) fn snapshots(name: &GuestName, root: &Path) -> Snapshots {
    Snapshots::new(name, Place::directory(root))
}

fn listing(paths: &Paths, name: &GuestName, root: &Path) -> String {
    [root.to_owned(), snapshots(name, root).directory().to_owned()]
        .into_iter()
        // What a link leads to goes with it.
        .chain(root.is_symlink().then(|| based::real(root)))
        .chain(belongings::settings(paths, name))
        .chain(belongings::files(paths, name))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| format!("would delete '{}'\n", path.display()))
        .collect()
}

/// Asks before something is destroyed, on a terminal; elsewhere nobody can be
/// asked.
///
/// # Errors
/// What `not` says, when the answer is no.
pub(super) fn ask(yes: bool, question: &str, not: impl FnOnce() -> String) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::usage(format!("{} without '--yes'", not())));
    }
    if output::confirm(question)? { Ok(()) } else { Err(Error::usage(not())) }
}

/// The root leaves its place first, and its files go last: whenever this is
/// cut short, the guest is there whole, or can be deleted again.
fn delete(paths: &Paths, name: &GuestName, root: &Path) -> Result<()> {
    snapshots(name, root).delete_all(paths)?;
    Scratch::new(name, root).remove()?;
    let doomed = Doomed::take(paths, root, name)?;
    remove_settings(paths, name)?;
    for file in belongings::files(paths, name) {
        match fs::remove_file(&file) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(Error::path("remove", &file, cause));
            }
            _ => {}
        }
    }
    ids::release(paths, name)?;
    doomed.map_or(Ok(()), Doomed::remove)
}

/// The next guest of this name isn't to have what was set for this one's units.
fn remove_settings(paths: &Paths, name: &GuestName) -> Result<()> {
    for path in belongings::settings(paths, name) {
        let removed = match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => continue,
        };
        removed.map_err(|cause| Error::path("remove", &path, cause))?;
        output::remark(format_args!("what was set for its unit is gone: '{}'", path.display()));
    }
    Ok(())
}
