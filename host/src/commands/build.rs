//! `vserver build`.

use crate::cli::BuildArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &BuildArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'build' is not written yet"))
}
