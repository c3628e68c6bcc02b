//! `vserver reboot`.

use crate::cli::RebootArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &RebootArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'reboot' is not written yet"))
}
