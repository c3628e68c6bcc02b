//! `vserver restart` and `vserver condrestart`.

use crate::cli::RestartArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &RestartArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'restart' is not written yet"))
}

/// Not written yet.
pub(super) fn run_if_running(_args: &RestartArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'condrestart' is not written yet"))
}
