//! `vserver exec`.

use crate::cli::ExecArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &ExecArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'exec' is not written yet"))
}
