//! `vserver enter`.

use crate::cli::EnterArgs;
use crate::commands::{Exit, output};
use crate::error::Result;
use crate::paths::Paths;
use crate::session::{self, Session};

/// Opens a login shell in a guest.
pub(super) fn run(args: &EnterArgs, paths: &Paths) -> Result<Exit> {
    session::protect()?;
    let session = Session { command: None, user: args.user.clone() };
    session::run(paths, &args.name, &session, &output::warn).map(Exit::from)
}
