//! `chbind`: a command with addresses of its own.

use std::fmt::Write;

use caps::{CapSet, Capability};

use crate::chbind::{self, Wish};
use crate::chcontext;
use crate::cli::tools::ChbindArgs;
use crate::commands::chcontext::words;
use crate::commands::{Exit, output};
use crate::error::{Error, Result};
use crate::launch::bound_capabilities;
use crate::paths::Paths;
use crate::sys;

/// Comes back only if the command was not executed.
pub(super) fn run(args: &ChbindArgs, _paths: &Paths) -> Result<Exit> {
    let command = words(&args.command)?;
    let program = args.command.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let wish = Wish {
        addresses: args.addresses.clone(),
        broadcasts: args.broadcast.into_iter().collect(),
        loopback: args.loopback,
        number: args.number,
    };
    let bound = chbind::enter(&wish)?;
    if !args.quiet {
        let mut line = "Adding".to_owned();
        for ip in &bound.addresses {
            // Writing to a string never fails.
            let _ = write!(line, " {ip}");
        }
        output::print(&(line + "\n"))?;
    }
    if args.secure {
        let fail = |error| Error::os("cannot reduce the capabilities", error);
        let all = caps::all();
        let keep: Vec<_> =
            all.into_iter().filter(|one| *one != Capability::CAP_NET_ADMIN).collect();
        bound_capabilities(&keep).map_err(fail)?;
        for set in [CapSet::Effective, CapSet::Permitted] {
            caps::drop(None, set, Capability::CAP_NET_ADMIN)
                .map_err(|_| fail(std::io::Error::last_os_error()))?;
        }
    }
    bound.show(&program)?;
    sys::reset_broken_pipe();
    let cause = chcontext::execute(&command);
    Err(Error::exec(program, cause))
}
