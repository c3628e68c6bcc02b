//! `vserver reload`: what can be changed in a guest that runs, from its
//! configuration as it is now.

use shared::name::GuestName;

use crate::cli::{LimitsArgs, ReloadArgs};
use crate::commands::{Exit, device, each, limits, select};
use crate::config::{self, NetworkMode};
use crate::control::{Client, Request};
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Reloads.
pub(super) fn run(args: &ReloadArgs, paths: &Paths) -> Result<Exit> {
    let names = select::guests(&args.guests, paths)?;
    let is_chosen = args.guests.names.is_empty();
    each(&names, |name| reload(paths, name, is_chosen))
}

/// Of all guests, or of those with a mark, the ones that don't run are no matter.
fn reload(paths: &Paths, name: &GuestName, is_chosen: bool) -> Result<Exit> {
    let config = config::load(paths, name)?;
    let not_running = || Error::not_running(name);
    if Client::find(paths, name)?.is_none() {
        return if is_chosen { Ok(Exit::DONE) } else { Err(not_running()) };
    }
    let network = match config.network.mode() {
        NetworkMode::None => Ok(()),
        _ => Client::ask_any(paths, name, &Request::Addresses)
            .and_then(|answer| answer.map(drop).ok_or_else(not_running)),
    };
    // What else can be changed is, whatever has become of the network.
    device::reload(paths, name)?;
    let exit = limits::run(&LimitsArgs::apply(name), paths)?;
    network.map(|()| exit)
}
