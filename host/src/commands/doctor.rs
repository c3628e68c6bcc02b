//! `vserver doctor`.

use crate::cli::DoctorArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Not written yet.
pub(super) fn run(_args: &DoctorArgs, _paths: &Paths) -> Result<Exit> {
    Err(Error::new("'doctor' is not written yet"))
}
