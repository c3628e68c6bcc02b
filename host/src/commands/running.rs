//! `vserver running`.

use crate::cli::RunningArgs;
use crate::commands::Exit;
use crate::config;
use crate::control::Client;
use crate::error::{Kind, Result};
use crate::paths::Paths;

/// Answers by the exit code alone: 0 or 1. That there is no such guest is an error, as
/// util-vserver has it: a misspelt name isn't down. A bare context doesn't count as running, a guest on its way up or
/// down does.
pub(super) fn run(args: &RunningArgs, paths: &Paths) -> Result<Exit> {
    match Client::find(paths, &args.name)? {
        Some((_, status)) if status.shown_phase().is_running() => Ok(Exit::DONE),
        _ => match config::load(paths, &args.name) {
            Err(error) if error.kind() == Kind::NoSuchGuest => Err(error),
            _ => Ok(Exit::NO),
        },
    }
}
