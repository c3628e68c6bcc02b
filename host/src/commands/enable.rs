//! `vserver enable` and `vserver disable`: is a guest started with the host?
//!
//! The configuration says it. Where systemd starts guests, its own links do, so
//! that `systemctl disable` takes back what `vserver enable` has done; there the
//! configuration is what an administrator has written into it.

use crate::cli::{Guests, Shutdown};
use crate::commands::{Exit, each, lifecycle, output, select, start};
use crate::config::{self, edit};
use crate::error::Result;
use crate::paths::Paths;
use crate::runtime::Lock;
use crate::systemd;

use shared::message::Power;
use shared::name::GuestName;

/// Enables or disables.
pub(super) fn run(guests: &Guests, now: bool, enable: bool, paths: &Paths) -> Result<Exit> {
    let names = select::guests(guests, paths)?;
    set_all(paths, &names, enable)?;
    if !now {
        return Ok(Exit::DONE);
    }
    let limit = start::limit(guests);
    let wanted = lifecycle::Start { limit, ..lifecycle::Start::default() };
    each(&names, |name| {
        if enable {
            lifecycle::start(paths, name, &wanted)?;
        } else {
            let ran = lifecycle::stop(paths, name, Power::PowerOff, &Shutdown::default())?;
            if !ran {
                lifecycle::call_off(paths, name)?;
            }
        }
        Ok(Exit::DONE)
    })
}

/// Has guests started with the host, or no longer.
///
/// # Errors
/// When a configuration can't be written, or systemd refuses.
pub(super) fn set_all(paths: &Paths, names: &[GuestName], enable: bool) -> Result<()> {
    let by_systemd = systemd::starts_guests(paths);
    let done = names.iter().try_for_each(|name| match (by_systemd, enable) {
        (false, _) => set(paths, name, enable),
        (true, true) => {
            config::load(paths, name)?;
            systemd::enable(name, true)
        }
        (true, false) => {
            set(paths, name, false)?;
            systemd::enable(name, false)
        }
    });
    if by_systemd {
        systemd::reload()?;
        if enable && !systemd::starts_any() {
            output::warn(
                "nothing starts with this host, since 'vservers.target' is disabled: \
                 systemctl enable vservers.target",
            );
        }
    }
    done
}

/// Writes it into the guest's file.
fn set(paths: &Paths, name: &GuestName, enable: bool) -> Result<()> {
    let _lock = Lock::wait(&paths.lock(name))?;
    let key = "autostart";
    if config::load(paths, name)?.autostart == enable {
        return Ok(());
    }
    config::change(paths, name, |text| {
        edit::set(text, key, &[enable.to_string()])
            .map_err(|problems| super::config::refused(key, &problems))
    })
    .map(drop)
}
