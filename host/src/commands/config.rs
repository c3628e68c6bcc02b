//! `vserver config`.

use crate::cli::ConfigArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &ConfigArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'config' is not written yet"))
}
