//! `vserver delete`.

use crate::cli::DeleteArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &DeleteArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'delete' is not written yet"))
}
