//! `vserver suexec`.

use crate::cli::SuexecArgs;
use crate::commands::{Exit, output};
use crate::error::Result;
use crate::paths::Paths;
use crate::session::{self, Session};

/// Runs a command in a guest as one of its users.
pub(super) fn run(args: &SuexecArgs, paths: &Paths) -> Result<Exit> {
    session::protect()?;
    let session = Session { command: Some(args.command.clone()), user: Some(args.user.clone()) };
    session::run(paths, &args.name, &session, &output::warn).map(Exit::from)
}
