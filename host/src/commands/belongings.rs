//! The files that belong to a guest, besides its root and its numbers.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use shared::name::{ContextId, GuestName};

use crate::accounting::{Book, Records};
use crate::config::{self, edit};
use crate::error::{Error, Result};
use crate::ids;
use crate::paths::Paths;
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

/// What a guest that comes from another one brings along.
pub(super) struct New<'a> {
    /// The text of its configuration, still without a context.
    pub text: &'a str,
    /// Its actions, and their permissions.
    pub actions: Option<(&'a [u8], u32)>,
}

impl New<'_> {
    /// Writes both for a guest to which `context` was just allocated.
    ///
    /// # Errors
    /// When one can't be written; then the guest has neither, and no context.
    pub(super) fn register(
        &self,
        paths: &Paths,
        name: &GuestName,
        context: ContextId,
    ) -> Result<()> {
        self.write(paths, name, context).inspect_err(|_| {
            // The first error counts.
            let _ = ids::release(paths, name);
            let _ = fs::remove_file(paths.actions(name));
        })
    }

    fn write(&self, paths: &Paths, name: &GuestName, context: ContextId) -> Result<()> {
        let key = "context";
        let text = edit::set(self.text, key, &[context.to_string()])
            .map_err(|problems| super::config::refused(key, &problems))?;
        if let Some((actions, mode)) = self.actions {
            let path = paths.actions(name);
            fs::write(&path, actions)
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
                .map_err(|cause| Error::path("write", &path, cause))?;
        }
        config::write_new_text(paths, name, &text)
    }
}
