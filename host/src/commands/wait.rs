//! `vserver wait`.

use shared::name::GuestName;

use crate::cli::{Awaited, WaitArgs};
use crate::commands::{Exit, each, lifecycle};
use crate::error::Result;
use crate::paths::Paths;

/// Waits until guests are in a state.
pub(super) fn run(args: &WaitArgs, paths: &Paths) -> Result<Exit> {
    let running = args.state == Awaited::Running;
    each(&args.names, |name: &GuestName| {
        lifecycle::wait(paths, name, running, args.timeout)?;
        Ok(Exit::DONE)
    })
}
