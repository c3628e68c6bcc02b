//! `vserver stop`.

use shared::message::Power;
use shared::name::GuestName;

use crate::cli::StopArgs;
use crate::commands::{Exit, dry_run, each, lifecycle, output, select};
use crate::error::Result;
use crate::paths::Paths;

/// Shuts guests down, side by side when there are several.
pub(super) fn run(args: &StopArgs, paths: &Paths) -> Result<Exit> {
    let names = select::guests(&args.guests, paths)?;
    if args.dry_run {
        return dry_run::running("stop", &names, paths);
    }
    each(&names, |name: &GuestName| {
        if !lifecycle::stop(paths, name, Power::PowerOff, &args.shutdown)? {
            output::warn(format_args!("guest '{name}' is not running"));
        }
        Ok(Exit::DONE)
    })
}
