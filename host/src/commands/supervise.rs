//! `vserver supervise`.

use crate::cli::SuperviseArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &SuperviseArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'supervise' is not written yet"))
}
