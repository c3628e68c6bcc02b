//! Tells systemd-machined of a guest: the short-lived process that a
//! supervisor starts for that.

use nix::unistd::alarm;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::cli::SuperviseArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::machined::{self, Machine};
use crate::net;
use crate::paths::Paths;
use crate::plan::network::long_names;

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
