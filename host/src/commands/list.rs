//! `vserver list`.

use crate::cli::ListArgs;
use crate::commands::{Exit, observe, output, select};
use crate::config;
use crate::error::Result;
use crate::ids;
use crate::paths::Paths;
use crate::report::{self, GuestStatus, State};
use crate::supervisor;

/// Lists all guests, or those that were chosen. A guest whose configuration
/// can't be read, or whose supervisor can't be asked, is listed, with a warning.
pub(super) fn run(args: &ListArgs, paths: &Paths) -> Result<Exit> {
    let (mut guests, mut warned) = (Vec::new(), Vec::new());
    for file in config::misnamed(paths)? {
        output::warn(format_args!("'{file}' is passed over: its name is none of a guest"));
    }
    for (name, told) in observe::guests(paths, &select::all(&args.mark, paths)?) {
        guests.push(told.unwrap_or_else(|error| {
            // What is wrong with the site's defaults is so for all guests.
            let text = error.to_string();
            if !warned.contains(&text) {
                output::warn(&text);
                warned.push(text);
            }
            let state =
                if supervisor::runs(paths, &name) { State::Running } else { State::Stopped };
            let given = ids::lookup(paths, &name).ok().flatten().map(|given| given.context);
            GuestStatus { state, ..GuestStatus::stopped(name, given, String::new()) }
        }));
    }
    guests.retain(|guest| match guest.state {
        State::Stopped => !args.running,
        _ => !args.stopped,
    });
    if args.enabled || args.json {
        observe::add_links(paths, &mut guests);
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
