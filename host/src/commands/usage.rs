//! `vserver usage`: what guests have used, for bills.

use shared::name::GuestName;

use crate::accounting::{self, Book, Commands, Records, sum};
use crate::cli::UsageArgs;
use crate::commands::{Exit, observe, output};
use crate::config;
use crate::control::{Client, Request};
use crate::error::{Error, Kind, Result};
use crate::ids;
use crate::paths::Paths;
use crate::plan::ID_COUNT;
use crate::report::usage::{self, Used};
use crate::report::usage_commands;

/// Prints what was used in a period, to this moment. Guests that are gone
/// count until their account is removed.
pub(super) fn run(args: &UsageArgs, paths: &Paths) -> Result<Exit> {
    if args.until <= args.since {
        return Err(Error::usage("the period ends before it begins")
            .hint("'--since' has to be earlier than '--until'"));
    }
    if args.commands {
        return by_command(args, paths);
    }
    let known = accounting::names(paths)?;
    let mut everyone = known.clone();
    everyone.extend(config::names(paths)?);
    everyone.sort();
    everyone.dedup();
    let (mut all, mut exit) = (Vec::new(), Exit::DONE);
    let names = if args.names.is_empty() { &everyone } else { &args.names };
    for name in args.names.iter().filter(|name| !known.contains(name)) {
        // One that has never run has used nothing, whatever is in the others' files.
        config::load(paths, name)?;
    }
    for (name, end) in observe::side_by_side(names, |name| bring_up_to_date(paths, name)) {
        match end {
            Err(error) if error.kind() == Kind::Permission => return Err(error),
            Err(error) => output::warn(format_args!(
                "the last minute of guest '{name}' may be missing: {error}"
            )),
            Ok(()) => {}
        }
    }
    for name in names {
        let book = Book::new(paths, name);
        if let Some(damage) = book.damage() {
            output::warn(&damage);
        }
        match book.hours() {
            Ok(hours) => {
                let sums = sum(hours, args.since, args.until);
                all.push(Used { name: name.to_string(), sums });
            }
            // The others are told all the same.
            Err(error) => {
                output::complain(&error);
                exit = exit.or_failed(&error);
            }
        }
    }
    output::print(&match (args.json, args.csv) {
        (true, _) => usage::json(&all),
        (_, true) => usage::csv(&all),
        _ => usage::text(&all),
    })?;
    Ok(exit)
}

/// Prints what processes that have ended have used, by their names.
fn by_command(args: &UsageArgs, paths: &Paths) -> Result<Exit> {
    let (mut all, mut exit) = (Vec::new(), Exit::DONE);
    let everyone = config::names(paths)?;
    for name in if args.names.is_empty() { &everyone } else { &args.names } {
        match commands_of(args, paths, name) {
            Ok(rows) => all.extend(rows),
            Err(error) if args.names.len() == 1 => return Err(error),
            // The others are told all the same.
            Err(error) => {
                output::complain(&error);
                exit = exit.or_failed(&error);
            }
        }
    }
    output::print(&match (args.json, args.csv) {
        (true, _) => usage_commands::json(&all),
        (_, true) => usage_commands::csv(&all),
        _ => usage_commands::text(&all),
    })?;
    Ok(exit)
}

/// Those of a guest; none of one whose processes aren't recorded, unless it was named.
fn commands_of(
    args: &UsageArgs,
    paths: &Paths,
    name: &GuestName,
) -> Result<Vec<usage_commands::Row>> {
    let records = Records::new(paths, name);
    if !records.is_there() {
        if args.names.is_empty() {
            return Ok(Vec::new());
        }
        let config = config::load(paths, name)?;
        return Err(none_recorded(name, config.accounting.processes));
    }
    let base = ids::lookup(paths, name)?.map_or(0, |ids| ids.base);
    let ids = base..base.saturating_add(ID_COUNT);
    let mut commands = Commands::new(args.since..args.until, ids);
    records.read(|record| commands.add(record))?;
    let row = |(command, sums)| usage_commands::Row { name: name.to_string(), command, sums };
    Ok(commands.sorted().into_iter().map(row).collect())
}

fn none_recorded(name: &GuestName, is_wanted: bool) -> Error {
    let error = Error::new(format!("no processes of guest '{name}' were recorded"));
    error.hint(match is_wanted {
        true => format!("they are from its next boot on: vserver reboot {name}"),
        false => format!("vserver config set {name} accounting.processes true, then boot it"),
    })
}

/// Has the supervisor of a guest that runs write down what it hasn't yet.
fn bring_up_to_date(paths: &Paths, name: &GuestName) -> Result<()> {
    if let Some((client, _)) = Client::find(paths, name)? {
        client.send(&Request::Account)?;
        client.status()?;
    }
    Ok(())
}
