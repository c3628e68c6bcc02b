//! `vserver exec`.

use crate::cli::ExecArgs;
use crate::commands::{Exit, output};
use crate::error::Result;
use crate::paths::Paths;
use crate::session::{self, Session};

/// Runs a command in a guest as its root.
pub(super) fn run(args: &ExecArgs, paths: &Paths) -> Result<Exit> {
    session::protect()?;
    let session = Session { command: Some(args.command.clone()), user: None };
    session::run(paths, &args.name, &session, &output::warn).map(Exit::from)
}
