//! `vserver stop`.

use shared::message::Power;
use shared::name::GuestName;

use crate::cli::StopArgs;
use crate::commands::{Exit, dry_run, each_of, lifecycle, output, select};
use crate::control::Client;
use crate::error::Result;
use crate::paths::Paths;

/// Shuts guests down, side by side when there are several.
pub(super) fn run(args: &StopArgs, paths: &Paths) -> Result<Exit> {
    let names = select::guests_that_run_too(&args.guests, paths)?;
    if args.dry_run {
        return dry_run::running("stop", &names, paths);
    }
    let groups = select::in_order(&names, paths).into_iter().rev();
    let is_chosen = args.guests.names.is_empty();
    each_of(groups, |name: &GuestName| {
        // Of all guests, one that doesn't run is no matter, whatever has become
        // of its configuration.
        let is_down = is_chosen && Client::find(paths, name)?.is_none();
        let ran = !is_down && lifecycle::stop(paths, name, Power::PowerOff, &args.shutdown)?;
        if !ran {
            if !lifecycle::call_off(paths, name)? && !is_chosen {
                output::warn(format_args!("guest '{name}' is not running"));
            }
            lifecycle::clear_after(paths, name)?;
        }
        Ok(Exit::DONE)
    })
}
