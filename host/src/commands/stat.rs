//! `vserver stat` and `vserver-stat`: what contexts use.

use std::io::{self, IsTerminal};
use std::thread;

use crate::accounting::{self, Account};
use crate::cli::StatArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::error::Result;
use crate::membership::{Context, Membership};
use crate::paths::Paths;
use crate::report::stat::{self, Line};

/// What the host is called, as in util-vserver.
const HOST: &str = "root server";

/// Moves to the top left corner of a terminal and clears it (ECMA-48, CUP and
/// ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// Prints the table once, or again and again until nobody reads it. With
/// `described`, guests' descriptions are shown.
pub(super) fn run(args: &StatArgs, described: bool, paths: &Paths) -> Result<Exit> {
    loop {
        let mut lines = lines(paths, described || args.json)?;
        stat::sort(&mut lines, &args.sort);
        let text = match args.json {
            true => stat::json(&lines),
            false => stat::text(&lines, &args.columns, described),
        };
        let Some(pause) = args.watch else {
            output::print(&text)?;
            return Ok(Exit::DONE);
        };
        let clear = if !args.json && io::stdout().is_terminal() { CLEAR } else { "" };
        if output::stream(format!("{clear}{text}").as_bytes())?.is_break() {
            return Ok(Exit::DONE);
        }
        thread::sleep(pause);
    }
}

fn lines(paths: &Paths, described: bool) -> Result<Vec<Line>> {
    let membership = Membership::read(paths)?;
    let line = |(context, account)| {
        let description = match &context {
            Context::Guest(name) if described => {
                config::load(paths, name).unwrap_or_default().description
            }
            _ => String::new(),
        };
        Line { description, ..line(&membership, &context, account) }
    };
    Ok(accounting::read(&membership)?.into_iter().map(line).collect())
}

/// A context's line, without a description.
pub(super) fn line(membership: &Membership, context: &Context, account: Account) -> Line {
    let name = match context {
        Context::Guest(name) => name.to_string(),
        Context::Main => HOST.to_owned(),
        // They have no name; a last column there is in every line.
        Context::Watch | Context::Bare(_) => "-".to_owned(),
    };
    Line { context: membership.number(context), name, description: String::new(), account }
}
