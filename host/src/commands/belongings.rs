//! The files that belong to a guest, besides its root and its numbers.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use shared::name::{ContextId, GuestName};

use crate::accounting::{Book, Records};
use crate::commands::turn;
use crate::config::{self, edit};
use crate::error::{Error, Result};
use crate::ids::{self, Allocation};
use crate::paths::Paths;
use crate::runtime::Lock;
use crate::store;
use crate::systemd;

/// Its actions, logs and records of processes, and its configuration, which
/// comes last: while it is there, so is the guest. Of two guests the same file
/// stands at the same place.
pub(super) fn files(paths: &Paths, name: &GuestName) -> Vec<PathBuf> {
    let of_log = |suffix: &str| paths.log_dir().join(format!("{name}.{suffix}"));
    let mut files = Records::new(paths, name).files();
    files.extend([
        paths.actions(name),
        paths.log(name),
        of_log("log.1"),
        paths.boots(name),
        of_log("supervisor.log"),
        of_log("supervisor.log.1"),
        paths.next_config(name),
        paths.config(name),
    ]);
    files
}

/// What may be set for its units, where it has some. Of two guests the same stands at the
/// same place.
pub(super) fn settings(paths: &Paths, name: &GuestName) -> Vec<PathBuf> {
    if systemd::starts_guests(paths) { systemd::settings(name) } else { Vec::new() }
}

/// Its account, which outlives it: there may still be a bill to write.
pub(super) fn account(paths: &Paths, name: &GuestName) -> [PathBuf; 4] {
    Book::new(paths, name).files()
}

/// The bytes of its actions, and their permissions.
///
/// # Errors
/// When they are there and can't be read.
pub(super) fn actions(paths: &Paths, name: &GuestName) -> Result<Option<(Vec<u8>, u32)>> {
    let path = paths.actions(name);
    let read = store::open(&path).and_then(|mut file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok((bytes, file.metadata()?.permissions().mode() & 0o777))
    });
    match read {
        Ok(found) => Ok(Some(found)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::path("read", &path, cause)),
    }
}

/// Has other commands that are at work with a guest of this name wait while it is made.
/// If there is no such guest in the end, nothing is left of it.
pub(super) struct Claim<'a> {
    paths: &'a Paths,
    name: &'a GuestName,
    lock: Option<Lock>,
}

impl<'a> Claim<'a> {
    /// Waits until nobody else is at work with it, as long as `check` lets it.
    ///
    /// # Errors
    /// That of `check`, or when the lock can't be made.
    pub(super) fn take(
        paths: &'a Paths,
        name: &'a GuestName,
        check: impl Fn() -> Result<()>,
    ) -> Result<Self> {
        let lock = turn::wait_unless(paths, name, &check)?;
        Ok(Self { paths, name, lock: Some(lock) })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.paths.config(self.name).exists()
            && let Some(lock) = self.lock.take()
        {
            lock.remove(&self.paths.lock(self.name));
        }
    }
}

/// # Errors
/// When others were laid ready for a guest that brings actions along. The same are what
/// one that was killed had written.
pub(super) fn refuse_others_actions(
    paths: &Paths,
    name: &GuestName,
    brought: Option<(&[u8], u32)>,
) -> Result<()> {
    let path = paths.actions(name);
    let Some((brought, _)) = brought.filter(|_| path.symlink_metadata().is_ok()) else {
        return Ok(());
    };
    if actions(paths, name).is_ok_and(|there| there.is_some_and(|(there, _)| there == brought)) {
        return Ok(());
    }
    let text = format!("guest '{name}' has actions already: there is '{}'", path.display());
    Err(Error::new(text).hint("move them away: the new guest brings its own along"))
}

/// What a guest that comes from another one brings along.
pub(super) struct New<'a> {
    /// The text of its configuration, still without a context.
    pub text: &'a str,
    /// Its actions, and their permissions.
    pub actions: Option<(&'a [u8], u32)>,
}

impl New<'_> {
    /// Gives the guest its numbers by `allocate`, and writes both.
    ///
    /// # Errors
    /// When one can't be written, or is there already; then nothing is left of it.
    pub(super) fn register(
        &self,
        paths: &Paths,
        name: &GuestName,
        allocate: impl FnOnce() -> Result<Allocation>,
    ) -> Result<ContextId> {
        // Its own numbers only are taken back.
        let is_new = ids::lookup(paths, name)?.is_none();
        let context = allocate()?.context;
        self.write(paths, name, context).inspect_err(|_| {
            // The first error counts.
            if is_new {
                let _ = ids::release(paths, name);
            }
        })?;
        Ok(context)
    }

    fn write(&self, paths: &Paths, name: &GuestName, context: ContextId) -> Result<()> {
        let key = "context";
        let text = edit::set(self.text, key, &[context.to_string()])
            .map_err(|problems| super::config::refused(key, &problems))?;
        refuse_others_actions(paths, name, self.actions)?;
        let path = paths.actions(name);
        let actions = self.actions.filter(|_| path.symlink_metadata().is_err());
        if let Some((actions, mode)) = actions {
            store::create(&path, actions, mode)?;
        }
        config::write_new_text(paths, name, &text).inspect_err(|_| {
            if actions.is_some() {
                let _ = fs::remove_file(&path);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_anothers_is_not_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, web) = (Paths::new(directory.path()), "web".parse().unwrap());
        fs::create_dir_all(paths.config_dir()).unwrap();
        let register = |text: &str| {
            let new = New { text, actions: Some((b"#!/bin/sh\n", 0o750)) };
            new.register(&paths, &web, || ids::allocate(&paths, &web, 40_007.try_into().ok()))
        };
        let actions = paths.actions(&web);
        // Laid ready by somebody.
        fs::write(&actions, "ours").unwrap();
        assert!(refuse_others_actions(&paths, &web, None).is_ok());
        assert!(refuse_others_actions(&paths, &web, Some((b"ours", 0o700))).is_ok());
        assert!(register("").is_err());
        assert_eq!(fs::read(&actions).unwrap(), b"ours");
        assert_eq!(ids::lookup(&paths, &web).unwrap(), None);
        fs::remove_file(&actions).unwrap();
        // Its own.
        assert!(register("wrong = 1\n").is_err());
        assert!(!actions.exists());
        assert_eq!(ids::lookup(&paths, &web).unwrap(), None);
        register("").unwrap();
        assert_eq!(actions.metadata().unwrap().permissions().mode() & 0o777, 0o750);
        // Another one has come before.
        fs::remove_file(&actions).unwrap();
        assert!(register("").is_err());
        assert!(ids::lookup(&paths, &web).unwrap().is_some());
    }

    #[test]
    fn a_claim_without_a_guest_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, web) = (Paths::new(directory.path()), "web".parse().unwrap());
        let claim = Claim::take(&paths, &web, || Ok(())).unwrap();
        let refused = || Err(Error::new("interrupted"));
        assert!(Claim::take(&paths, &web, refused).is_err());
        drop(claim);
        assert!(!paths.lock(&web).exists());
    }
}
