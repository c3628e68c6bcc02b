//! What a supervisor has short-lived processes do for systemd-machined.

use std::io;
use std::os::fd::AsFd;

use nix::unistd::alarm;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::cli::SuperviseArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::machined::{self, Machine};
use crate::net;
use crate::paths::Paths;
use crate::plan::network::long_names;
use crate::session;

/// Makes machined know the guest's PID 1, or that it has none. Says by its exit
/// code how that went ([`machined::End`]).
///
/// # Errors
/// When this process can't be made to end with its supervisor.
pub fn tell(paths: &Paths, args: &SuperviseArgs) -> Result<Exit> {
    let name = &args.name;
    // Of two of these the older one could have the last word.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Error::os("cannot end with the supervisor", error))?;
    alarm::set(machined::PATIENCE);
    let links = long_names(name, &paths.instance());
    let end = net::index(&links[0]).ok().flatten();
    let machine = args.leader.zip(args.root.clone()).map(|(leader, root)| Machine {
        id: args.uuid.unwrap_or_default().into_bytes(),
        leader,
        root,
        interfaces: end.and_then(|index| i32::try_from(index).ok()).into_iter().collect(),
    });
    Ok(Exit::of(machined::settle(name, machine.as_ref()).code()))
}

/// Starts the machine's leader beside a PID 1 that doesn't do as machined says. The
/// supervisor's socket is standard input.
///
/// # Errors
/// As [`session::lead`].
pub fn lead(paths: &Paths, args: &SuperviseArgs, init_pid: i32) -> Result<Exit> {
    session::protect()?;
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Error::os("cannot look at standard input", error))?;
    session::lead(paths, &args.name, init_pid, socket)?;
    Ok(Exit::DONE)
}
