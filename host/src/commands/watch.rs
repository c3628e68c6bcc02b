//! `vpstree` and `vtop`: the host's own programs. On an unpatched kernel the
//! host sees the processes of all contexts.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::cli::tools::{VpstreeArgs, VtopArgs};
use crate::commands::Exit;
use crate::error::{Error, Kind, Result};
use crate::membership::{Context, Membership};
use crate::paths::Paths;

/// Becomes pstree(1), from the top or from a context's PID 1.
pub(super) fn tree(args: &VpstreeArgs, paths: &Paths) -> Result<Exit> {
    let mut options = args.options.clone();
    if let Some(word) = &args.context {
        let membership = Membership::read(paths)?;
        let context = membership.find(word)?;
        if !matches!(context, Context::Main | Context::Watch) {
            let init = membership.init(&context).ok_or_else(|| {
                Error::of(Kind::NotRunning, format!("context '{context}' has no process"))
            })?;
            options.push(init.pid.to_string().into());
        }
    }
    become_program("pstree", "psmisc", &options)
}

/// Becomes top(1).
pub(super) fn top(args: &VtopArgs, _paths: &Paths) -> Result<Exit> {
    become_program("top", "procps", &args.options)
}

fn become_program(program: &str, package: &str, options: &[OsString]) -> Result<Exit> {
    let cause = Command::new(program).args(options).exec();
    let error = Error::os(format_args!("cannot execute '{program}'"), cause);
    Err(error.hint(format!("it is in Debian's package '{package}'")))
}
