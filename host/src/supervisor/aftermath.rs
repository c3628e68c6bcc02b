//! What a guest that has ended leaves on the host, and its removal: after each boot by
//! its supervisor; where all of it was killed at once, by the next one, or by a command
//! that finds it at rest.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use shared::name::GuestName;

use crate::accounting::{Traffic, forks};
use crate::cgroup::{GuestCgroup, Serving};
use crate::error::{Error, Result};
use crate::net;
use crate::paths::Paths;
use crate::plan::network::long_names;
use crate::runtime::{RunDir, State};

use super::network::other_with;
use super::{accounts, outlived, perform};

/// So long whoever only looks whether there is a supervisor may seem to be one.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// Removes what is left of a guest that was killed with its keeper and its supervisor,
/// and takes it into its account. The caller keeps it at rest.
///
/// # Errors
/// What can't be removed; everything else is. When a supervisor has come meanwhile.
pub fn clear_after(paths: &Paths, name: &GuestName) -> Result<()> {
    let run = RunDir::new(paths, name);
    // Where there are no cgroups, none is left.
    let cgroup = GuestCgroup::new(paths, name).ok();
    let has_cgroup = cgroup.as_ref().is_some_and(|cgroup| cgroup.outer().exists());
    if !run.path().exists() && !has_cgroup {
        // All the same there may be links, whose directory somebody has emptied.
        let errors = remove_link(paths, name, &State::default(), None);
        return errors.into_iter().next().map_or(Ok(()), Err);
    }
    outlived::wait_for_last(&State::read(&run.state()));
    // In the place of the supervisor that would do it.
    let Some(place) = run.supervise(LOOKED_AT)? else {
        return Err(Error::new(format!("guest '{name}' is being started"))
            .hint(format!("'vserver stop {name}' first")));
    };
    let mut errors = remove(paths, name, cgroup.as_ref());
    errors.extend(run.remove().err().map(|error| Error::path("remove", run.path(), error)));
    run.give_up(place.lock);
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// Removes what stands on the host because of a guest that runs no more, but for its
/// run directory.
pub(super) fn remove(paths: &Paths, name: &GuestName, cgroup: Option<&GuestCgroup>) -> Vec<Error> {
    let state = State::read(&RunDir::new(paths, name).state());
    let _ = cgroup.map(GuestCgroup::kill_all);
    // It goes with the programs of the link, if nobody holds it.
    let traffic = state.traffic.and_then(|id| Traffic::open(id).ok());
    let serving = state.serving.and_then(|ids| Serving::open(ids).ok());
    let mut errors = remove_link(paths, name, &state, serving.as_ref());
    if let Some(cgroup) = cgroup {
        accounts::keep_account_of_remains(paths, name, cgroup, &state, traffic.as_ref());
    }
    if let Some(Err(error)) = state.forks.map(forks::end) {
        tracing::debug!("cannot end counting processes: {error}");
    }
    if let Some(Err(error)) = cgroup.map(|cgroup| cgroup.remove_all(perform::PATIENCE)) {
        errors.push(Error::os(format_args!("cannot remove the cgroups of guest '{name}'"), error));
    }
    errors
}

/// Removes the link of a boot that has ended, and what stands elsewhere because of its
/// addresses.
pub(super) fn remove_link(
    paths: &Paths,
    name: &GuestName,
    state: &State,
    serving: Option<&Serving>,
) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut done = |what: &str, result: Option<io::Result<()>>| {
        let error = result.and_then(Result::err);
        errors.extend(error.map(|error| Error::os(format_args!("cannot {what} '{name}'"), error)));
    };
    done("end leading connections to guest", serving.map(Serving::leave));
    let links = net::remove(&long_names(name, &paths.instance()));
    done("remove the link of guest", Some(links));
    done("remove the loopback address of guest", state.loopback.map(net::remove_loopback));
    // What a guest that was lost with its supervisor had may be another's now.
    let is_free = |address: &&IpAddr| other_with(paths, name, address).is_none();
    let own = || state.addresses.iter().filter(is_free).copied().collect::<Vec<_>>();
    let proxy = state.proxy.as_ref().map(|interface| net::end_proxy(interface, &own()));
    done("end answering on the network for guest", proxy);
    errors
}
