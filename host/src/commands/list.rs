//! `vserver list`.

use crate::cli::ListArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &ListArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'list' is not written yet"))
}
