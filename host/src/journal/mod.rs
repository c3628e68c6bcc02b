//! The host's journal (systemd-journald.service(8)): what goes there, and
//! under which names it is found again.
//!
//! Two things of a guest's do where systemd runs its supervisor: the
//! supervisor's own words, which tell of events by fixed ids ([`Kind`]), and
//! the console, line by line, which the keeper writes. Both belong to the
//! guest's own unit, so that journald's limit on messages is the guest's own.

mod boots;
mod events;
mod messages;

use std::env;
use std::io;
use std::os::unix::fs::MetadataExt;

use shared::name::GuestName;

pub use boots::{Boot, Boots, File};
pub use events::{ALL, CATALOG, Entry, Kind, Level, catalog};
pub use messages::Messages;

/// `SYSLOG_IDENTIFIER` of what a guest's supervisor says.
pub fn of_supervisor(name: &GuestName) -> String {
    format!("vserver-{name}")
}

/// `SYSLOG_IDENTIFIER` of a guest's console. No guest's name has a slash: it
/// is nobody else's.
pub fn of_console(name: &GuestName) -> String {
    format!("vserver-{name}/console")
}

/// Does this process's standard error go to the journal? Programs that know
/// of that leave the stream alone, and talk to it in its own way
/// (systemd.exec(5), `$JOURNAL_STREAM`).
pub fn is_ours() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Ok(found) = rustix::fs::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", found.st_dev, found.st_ino)
}

/// The identity of a file: a number that may be another's after it has gone,
/// and the time when it was made, where the file system tells that.
fn identity(meta: &std::fs::Metadata) -> (u64, Option<u64>) {
    let born = meta.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    (meta.ino(), born.and_then(|at| u64::try_from(at.as_nanos()).ok()))
}
