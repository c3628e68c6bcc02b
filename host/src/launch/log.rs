//! Where the keeper writes what the guest prints: the host's journal, the
//! log, or both; noted, so that each boot's part is found again.

use std::io;
use std::os::fd::OwnedFd;

use shared::journal::stream;
use shared::message::BootMode;
use shared::name::GuestName;

use crate::cgroup;
use crate::config::ConsoleLog;
use crate::journal::{self, Boot, Boots, File};
use crate::plan::Plan;

/// The log of one boot.
pub(super) struct Log {
    pub journal: Option<Journal>,
    /// Bytes after which the file is rotated; 0 for no file.
    pub limit: u64,
}

/// A stream to the journal, and by which names it is opened.
pub(super) struct Journal {
    pub stream: OwnedFd,
    pub identifier: String,
    pub unit: String,
}

/// Opens it, in the process that becomes the keeper: journald asks the kernel
/// who has connected (unix(7), `SO_PEERCRED`). A guest boots whether its log
/// can be kept or not.
pub(super) fn open(plan: &Plan) -> Log {
    // Sessions in a bare context are no boot.
    if plan.boot.mode == BootMode::Idle {
        return go_on(plan);
    }
    let log = outlets(plan);
    let file =
        (log.limit > 0).then(|| File::end_of(&plan.console.directory.join(&plan.console.name)));
    let boot = Boot::now(&plan.name, journal::is_ours(), log.journal.is_some(), file);
    let _ = Boots::note(&plan.console.boots, boot);
    log
}

/// The same for another keeper of the last boot.
pub(super) fn go_on(plan: &Plan) -> Log {
    let log = outlets(plan);
    let _ = Boots::note_keeper(&plan.console.boots, std::process::id());
    log
}

fn outlets(plan: &Plan) -> Log {
    let wanted = journal::is_ours() && plan.console.kept != ConsoleLog::File;
    let journal = wanted.then(|| Journal::open(&plan.name).ok()).flatten();
    let instead = journal.is_some() && plan.console.kept == ConsoleLog::Auto;
    let limit = if instead { 0 } else { plan.console.limit };
    Log { journal, limit }
}

impl Journal {
    fn open(name: &GuestName) -> io::Result<Self> {
        let (identifier, unit) = (journal::of_console(name), cgroup::unit(name));
        let stream = stream(&identifier, &unit)?;
        Ok(Self { stream, identifier, unit })
    }
}
