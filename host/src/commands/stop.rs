//! `vserver stop`.

use crate::cli::StopArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &StopArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'stop' is not written yet"))
}
