//! The files that belong to a guest, besides its root and its numbers.

use std::path::PathBuf;

use shared::name::GuestName;

use crate::accounting::{Book, Records};
use crate::paths::Paths;

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
        paths.config(name),
    ]);
    files
}

/// Its account, which outlives it: there may still be a bill to write.
pub(super) fn account(paths: &Paths, name: &GuestName) -> [PathBuf; 3] {
    Book::new(paths, name).files()
}
