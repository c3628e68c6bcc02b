//! `vserver list`.

use crate::cli::ListArgs;
use crate::commands::{Exit, observe, output, select};
use crate::error::Result;
use crate::paths::Paths;
use crate::report::{self, GuestStatus, State};
use crate::supervisor;

/// Lists all guests, or those that were chosen. A guest whose configuration
/// can't be read, or whose supervisor can't be asked, is listed, with a warning.
pub(super) fn run(args: &ListArgs, paths: &Paths) -> Result<Exit> {
    let mut guests = Vec::new();
    for (name, told) in observe::guests(paths, &select::all(&args.mark, paths)?) {
        guests.push(told.unwrap_or_else(|error| {
            output::warn(&error);
            let state =
                if supervisor::runs(paths, &name) { State::Running } else { State::Stopped };
            GuestStatus { state, ..GuestStatus::stopped(name, None, String::new()) }
        }));
    }
    guests.retain(|guest| match guest.state {
        State::Stopped => !args.running,
        _ => !args.stopped,
    });
    if args.enabled || args.json {
        observe::ask_systemd(paths, &mut guests);
    }
    if args.enabled {
        // As with 'start --enabled', one whose configuration can't be read is among them.
        guests.retain(|guest| guest.autostart != Some(false));
    }
    let text = match (args.json, args.names) {
        (true, _) => report::list_json(&guests),
        (_, true) => guests.iter().map(|guest| format!("{}\n", guest.name)).collect(),
        _ => report::list(&guests),
    };
    output::print(&text)?;
    Ok(Exit::DONE)
}
