//! `vserver enter`.

use crate::cli::EnterArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &EnterArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'enter' is not written yet"))
}
