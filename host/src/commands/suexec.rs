//! `vserver suexec`.

use crate::cli::SuexecArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &SuexecArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'suexec' is not written yet"))
}
