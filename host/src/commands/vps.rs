//! `vps`: ps(1), and a column that says which context each process is in.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use shared::outcome::Outcome;

use crate::cli::tools::VpsArgs;
use crate::commands::{Exit, output};
use crate::error::{Error, Result};
use crate::membership::{Context, Membership};
use crate::paths::Paths;
use crate::report::ps::{self, Shown};
use crate::sys;

/// Exits as ps does.
pub(super) fn run(args: &VpsArgs, paths: &Paths) -> Result<Exit> {
    let membership = Membership::read(paths)?;
    let mut command = Command::new("ps");
    command.args(&args.options).stdout(Stdio::piped());
    if let Some(columns) = columns() {
        command.env("COLUMNS", columns.to_string());
    }
    let child = command.spawn().map_err(|error| Error::exec("ps", error))?;
    let done =
        child.wait_with_output().map_err(|error| Error::os("cannot read from 'ps'", error))?;
    let context = |pid| shown(&membership, pid);
    // A reader that has gone is content.
    let _ = output::stream(&ps::with_contexts(&done.stdout, context))?;
    let outcome = Outcome::from_wait_status(done.status.into_raw());
    Ok(outcome.map_or(Exit::NO, Exit::from))
}

fn shown(membership: &Membership, pid: i32) -> Shown {
    match membership.of(pid) {
        None => Shown::Unknown,
        Some(Context::Main) => Shown::Main,
        Some(Context::Watch) => Shown::Watch,
        Some(Context::Bare(number)) => Shown::Context(Some(number), String::new()),
        Some(context @ Context::Guest(_)) => {
            Shown::Context(membership.number(&context), context.to_string())
        }
    }
}

/// How wide ps's lines may be on a terminal, which ps itself can't see behind
/// the pipe: it leaves room for the column. ps cuts lines only then.
fn columns() -> Option<usize> {
    let width =
        sys::window_size(io::stdout().as_fd()).ok().filter(|_| io::stdout().is_terminal())?;
    let own = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let columns: usize = own.unwrap_or(usize::from(width.ws_col));
    columns.checked_sub(ps::WIDTH + 1).filter(|columns| *columns > 0)
}
