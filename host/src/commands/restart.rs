//! `vserver restart` and `vserver condrestart`.

use shared::message::Power;
use shared::name::GuestName;

use crate::cli::RestartArgs;
use crate::commands::{Exit, dry_run, each, lifecycle, select, start};
use crate::config;
use crate::error::Result;
use crate::paths::Paths;

/// Stops guests, and starts them whether or not they ran.
pub(super) fn run(args: &RestartArgs, paths: &Paths) -> Result<Exit> {
    restart(args, paths, true)
}

/// Restarts those that run.
pub(super) fn run_if_running(args: &RestartArgs, paths: &Paths) -> Result<Exit> {
    restart(args, paths, false)
}

fn restart(args: &RestartArgs, paths: &Paths, stopped_too: bool) -> Result<Exit> {
    let names = select::guests(&args.guests, paths)?;
    if args.dry_run {
        names.iter().try_for_each(|name| config::load(paths, name).map(drop))?;
        return dry_run::running("restart", &names, paths);
    }
    let limit = start::limit(&args.guests);
    let wanted = lifecycle::Start { no_wait: args.no_wait, limit, ..lifecycle::Start::default() };
    each(&names, |name: &GuestName| {
        // Not stopped if it couldn't be started again.
        config::load(paths, name)?;
        let ran = lifecycle::stop(paths, name, Power::PowerOff, &args.shutdown)?;
        if ran || stopped_too {
            lifecycle::start(paths, name, &wanted, &|| Ok(()))?;
        }
        Ok(Exit::DONE)
    })
}
