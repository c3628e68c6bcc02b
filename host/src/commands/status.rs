//! `vserver status`.

use crate::cli::StatusArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &StatusArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'status' is not written yet"))
}
