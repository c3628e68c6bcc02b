//! `vserver usage`: what guests have used, for bills.

use shared::name::GuestName;

use crate::accounting::{self, Book, sum};
use crate::cli::UsageArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::control::{Client, Request};
use crate::error::Result;
use crate::paths::Paths;
use crate::report::usage::{self, Used};

/// Prints what was used in a period, to this moment. Guests that are gone
/// count until their account is removed.
pub(super) fn run(args: &UsageArgs, paths: &Paths) -> Result<Exit> {
    let known = accounting::names(paths)?;
    let mut everyone = known.clone();
    everyone.extend(config::names(paths)?);
    everyone.sort();
    everyone.dedup();
    let (mut all, mut exit) = (Vec::new(), Exit::DONE);
    for name in if args.names.is_empty() { &everyone } else { &args.names } {
        if !known.contains(name) {
            // One that has never run has used nothing.
            config::load(paths, name)?;
        }
        bring_up_to_date(paths, name);
        match Book::new(paths, name).hours() {
            Ok(hours) => {
                let sums = sum(hours, args.since, args.until);
                all.push(Used { name: name.to_string(), sums });
            }
            // The others are told all the same.
            Err(error) => {
                output::complain(&error);
                exit = Exit::NO;
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

/// Has the supervisor of a guest that runs write down what it hasn't yet.
fn bring_up_to_date(paths: &Paths, name: &GuestName) {
    let asked = || -> Result<()> {
        if let Some((client, _)) = Client::find(paths, name)? {
            client.send(&Request::Account)?;
            client.status()?;
        }
        Ok(())
    };
    if let Err(error) = asked() {
        output::warn(format_args!("the last minute of guest '{name}' may be missing: {error}"));
    }
}
