//! `vserver events`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shared::name::GuestName;

use crate::cli::EventsArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::control::{Change, Watcher};
use crate::error::{Kind, Result};
use crate::paths::Paths;
use crate::report::{Happening, State};

/// Prints how guests are, and each change of that, until nobody reads it any
/// more.
pub(super) fn run(args: &EventsArgs, paths: &Paths) -> Result<Exit> {
    let all = args.names.is_empty();
    let names = if all { config::names(paths)? } else { args.names.clone() };
    let mut watcher = Watcher::new(paths, &names, all)?;
    let mut last: BTreeMap<GuestName, Happening> = BTreeMap::new();
    let stdout = io::stdout();
    loop {
        let changes = watcher.next(None, Some(stdout.as_fd()))?;
        if changes.is_empty() {
            return Ok(Exit::DONE);
        }
        for (name, change) in changes {
            let happening = match change {
                Change::Told(status) => Happening {
                    time: UNIX_EPOCH + Duration::from_millis(status.at_ms),
                    context: Some(status.context),
                    state: status.shown_phase(),
                    boot: (status.boot > 0).then_some(status.boot),
                    init_pid: (status.init_pid > 0).then_some(status.init_pid),
                    last_end: status.last_end,
                },
                Change::Down => down(&name, last.get(&name), paths)?,
                Change::Unheard(error) => {
                    output::complain(&error);
                    continue;
                }
            };
            if !happening.is_news_after(last.get(&name)) {
                continue;
            }
            if output::stream(happening.line(&name).as_bytes())?.is_break() {
                return Ok(Exit::DONE);
            }
            last.insert(name, happening);
        }
    }
}

/// A guest that is down. One that nobody knows is a mistake of whoever named
/// it, unless it has been there until now.
fn down(name: &GuestName, last: Option<&Happening>, paths: &Paths) -> Result<Happening> {
    let config = match config::load(paths, name) {
        Err(error) if error.kind() == Kind::NoSuchGuest && last.is_none() => return Err(error),
        other => other.ok(),
    };
    let context = config.and_then(|config| config.context).map(|context| context.get());
    Ok(Happening {
        time: SystemTime::now(),
        context: context.or(last.and_then(|last| last.context)),
        state: State::Stopped,
        boot: None,
        init_pid: None,
        last_end: None,
    })
}
