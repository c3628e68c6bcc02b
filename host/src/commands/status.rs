//! `vserver status`.

use crate::cli::StatusArgs;
use crate::commands::{Exit, observe, output, select};
use crate::error::Result;
use crate::paths::Paths;
use crate::report;

/// Shows how guests are; the exit code is 0 if all of them run, 3 if not.
pub(super) fn run(args: &StatusArgs, paths: &Paths) -> Result<Exit> {
    let names = select::guests_that_run_too(&args.guests, paths)?;
    let (mut guests, mut worst) = (Vec::with_capacity(names.len()), Exit::DONE);
    for (_, told) in observe::guests(paths, &names) {
        match told {
            Ok(guest) => guests.push(guest),
            Err(error) if names.len() == 1 => return Err(error),
            // The others are shown all the same.
            Err(error) => {
                output::complain(&error);
                worst = worst.max(Exit::of(error.kind().exit_code()));
            }
        }
    }
    observe::add_links(paths, &mut guests);
    let text = match (args.json, guests.as_slice()) {
        (true, [guest]) if !args.guests.names.is_empty() => report::status_json(guest),
        (true, guests) => report::statuses_json(guests),
        (false, guests) => guests.iter().map(report::status).collect::<Vec<_>>().join("\n"),
    };
    output::print(&text)?;
    let all = guests.iter().all(|guest| guest.state.is_running());
    Ok(worst.max(if all { Exit::DONE } else { Exit::NOT_RUNNING }))
}
