//! `vserver wait`.

use crate::cli::WaitArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &WaitArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'wait' is not written yet"))
}
