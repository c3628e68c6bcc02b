//! `vserver demo`.

use crate::cli::DemoArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &DemoArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'demo' is not written yet"))
}
