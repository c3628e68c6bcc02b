//! `vserver doctor`: what this host can and can't do.

use crate::cli::DoctorArgs;
use crate::commands::{Exit, output};
use crate::error::Result;
use crate::facts;
use crate::paths::Paths;
use crate::report::doctor;

/// Looks and tells; exit code 1 when guests can't run.
pub(super) fn run(args: &DoctorArgs, paths: &Paths) -> Result<Exit> {
    let findings = doctor::judge(&facts::read(paths));
    output::print(&match args.json {
        true => doctor::json(&findings),
        false => doctor::text(&findings),
    })?;
    Ok(if doctor::is_able(&findings) { Exit::DONE } else { Exit::NO })
}
