//! `vserver running`.

use crate::cli::RunningArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &RunningArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'running' is not written yet"))
}
