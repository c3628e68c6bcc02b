//! `vserver running`.

use crate::cli::RunningArgs;
use crate::commands::Exit;
use crate::control::Client;
use crate::error::Result;
use crate::paths::Paths;

/// Answers by the exit code alone: 0 or 1, also for a guest that doesn't
/// exist. A bare context doesn't count as running, a guest on its way up or
/// down does.
pub(super) fn run(args: &RunningArgs, paths: &Paths) -> Result<Exit> {
    match Client::find(paths, &args.name)? {
        Some((_, status)) if status.shown_phase().is_running() => Ok(Exit::DONE),
        _ => Ok(Exit::NO),
    }
}
