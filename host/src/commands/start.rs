//! `vserver start`.

use shared::name::GuestName;

use crate::cli::StartArgs;
use crate::commands::{Exit, dry_run, each_of, foreground, lifecycle, select};
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Boots guests, side by side when there are several.
pub(super) fn run(args: &StartArgs, paths: &Paths) -> Result<Exit> {
    let names = select::guests(&args.guests, paths)?;
    let wanted = lifecycle::Start {
        no_wait: args.no_wait,
        ephemeral: args.ephemeral,
        rescue: args.rescue.clone(),
        foreground: args.foreground,
    };
    if args.dry_run {
        return dry_run::start(&names, paths);
    }
    if args.foreground {
        let [name] = names.as_slice() else {
            return Err(Error::usage("--foreground takes one guest"));
        };
        return foreground::run(name, paths, &wanted);
    }
    let groups = select::in_order(&names, paths);
    each_of(groups, |name: &GuestName| {
        lifecycle::start(paths, name, &wanted)?;
        Ok(Exit::DONE)
    })
}
