//! `vserver console`.

use crate::cli::ConsoleArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &ConsoleArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'console' is not written yet"))
}
