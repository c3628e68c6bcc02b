//! `vserver man`.

use crate::cli::ManArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &ManArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'man' is not written yet"))
}
