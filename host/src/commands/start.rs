//! `vserver start`.

use crate::cli::StartArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &StartArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'start' is not written yet"))
}
