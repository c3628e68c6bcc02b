//! `reducecap` as part of `vserver`; the work is done in
//! [`shared::reducecap`], which the program of that name consists of.

use shared::reducecap::options::Request;
use shared::reducecap::sets::Changes;
use shared::reducecap::{self, Failure};

use crate::cli::tools::ReducecapArgs;
use crate::commands::Exit;
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;

/// Comes back only if no command was executed.
pub(super) fn run(args: &ReducecapArgs, _paths: &Paths) -> Result<Exit> {
    let mut changes = Changes::default();
    for list in &args.cap {
        changes.add(list).map_err(Error::usage)?;
    }
    let request = Request {
        secure: args.secure,
        changes,
        show: args.show,
        pid: args.pid,
        command: args.command.clone(),
    };
    let request = request.check().map_err(Error::usage)?;
    reducecap::run(&request).map_err(error)?;
    Ok(Exit::DONE)
}

fn error(failure: Failure) -> Error {
    let kind = match failure.code {
        126 => Kind::CannotExecute,
        127 => Kind::CommandNotFound,
        _ => Kind::Failed,
    };
    let error = Error::of(kind, failure.text);
    match failure.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
