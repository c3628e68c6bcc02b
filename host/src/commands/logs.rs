//! `vserver logs`.

use crate::cli::LogsArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &LogsArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'logs' is not written yet"))
}
