//! `vserver reboot`.

use shared::name::GuestName;

use crate::cli::RebootArgs;
use crate::commands::{Exit, dry_run, each, lifecycle, select};
use crate::error::Result;
use crate::paths::Paths;

/// Has guests reboot in place, as if asked from inside.
pub(super) fn run(args: &RebootArgs, paths: &Paths) -> Result<Exit> {
    let names = select::guests_that_run_too(&args.guests, paths)?;
    if args.dry_run {
        return dry_run::running("reboot", &names, paths);
    }
    each(&names, |name: &GuestName| {
        lifecycle::reboot(paths, name, &args.shutdown, args.no_wait)?;
        Ok(Exit::DONE)
    })
}
