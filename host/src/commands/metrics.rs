//! `vserver metrics`: what guests use, for Prometheus.

use std::fs;
use std::path::Path;

use shared::name::GuestName;

use crate::accounting::{self, Book};
use crate::cli::MetricsArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::error::{Error, Result};
use crate::membership::{Context, Membership};
use crate::paths::Paths;
use crate::report::metrics::{self, Metered};
use crate::store;

/// Everybody may read a file of figures, as a collector has to.
const MODE: u32 = 0o644;

/// Prints the figures of all guests, or replaces a file by them. A guest whose
/// account can't be read is left out, and the rest is told, if there is any.
pub(super) fn run(args: &MetricsArgs, paths: &Paths) -> Result<Exit> {
    if let Some(directory) = args.output.as_deref().and_then(Path::parent) {
        // A directory that isn't there is a mistake, nothing to be made.
        let there = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        fs::read_dir(there).map_err(|error| Error::path("write to", there, error))?;
    }
    let mut accounts = accounting::read(&Membership::read(paths)?)?;
    let mut names: Vec<GuestName> = config::names(paths)?;
    names.extend(accounting::names(paths)?);
    names.sort();
    names.dedup();
    let (mut all, mut exit) = (Vec::new(), Exit::DONE);
    for name in names {
        let book = Book::new(paths, &name);
        if let Some(damage) = book.damage() {
            output::warn(&damage);
        }
        match book.read() {
            Ok(ledger) => all.push(Metered {
                name: name.to_string(),
                account: accounts.remove(&Context::Guest(name)),
                total: ledger.total,
            }),
            Err(error) => {
                output::complain(&error);
                exit = exit.or_failed(&error);
            }
        }
    }
    if all.is_empty() && exit != Exit::DONE {
        // That there is nobody would be wrong.
        return Ok(exit);
    }
    let text = metrics::text(&all);
    match &args.output {
        Some(file) => store::put(file, &metrics::for_textfile(&text), MODE)?,
        None => output::print(&text)?,
    }
    Ok(exit)
}
