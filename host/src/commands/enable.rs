//! `vserver enable` and `vserver disable`: is a guest started with the host?
//!
//! The configuration says it. Where systemd starts guests, its own links do, so
//! that `systemctl disable` takes back what `vserver enable` has done; there the
//! configuration is what an administrator has written into it.

use crate::cli::{Guests, Shutdown};
use crate::commands::{Exit, each, lifecycle, output, select, start, turn};
use crate::config::{self, edit};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::systemd;
use crate::tree::Check;

use shared::message::Power;
use shared::name::GuestName;

/// Enables or disables.
pub(super) fn run(guests: &Guests, now: bool, enable: bool, paths: &Paths) -> Result<Exit> {
    let mut names = select::guests(guests, paths)?;
    let mut worst = Exit::DONE;
    let check = || Ok(());
    if let [only] = &*names
        && (enable || !now)
    {
        set_all(paths, std::slice::from_ref(only), enable, &check)?;
    } else {
        for (name, error) in set_each(paths, &names, enable, &check)? {
            output::complain(&error);
            worst = worst.max(Exit::of(error.kind().exit_code()));
            // What can't be enabled isn't started; what can't be disabled is stopped.
            names.retain(|other| !enable || *other != name);
        }
    }
    if !now || names.is_empty() {
        return Ok(worst);
    }
    let limit = start::limit(guests);
    let wanted = lifecycle::Start { limit, ..lifecycle::Start::default() };
    let done = each(&names, |name| {
        if enable {
            lifecycle::start(paths, name, &wanted, &|| Ok(()))?;
        } else {
            let ran = lifecycle::stop(paths, name, Power::PowerOff, &Shutdown::default())?;
            if !ran {
                lifecycle::call_off(paths, name)?;
            }
        }
        Ok(Exit::DONE)
    })?;
    Ok(done.max(worst))
}

/// Has guests started with the host, or no longer. `check` ends the waiting for others.
///
/// # Errors
/// When a configuration can't be written, or systemd refuses: the first of those.
pub(super) fn set_all(
    paths: &Paths,
    names: &[GuestName],
    enable: bool,
    check: Check<'_>,
) -> Result<()> {
    let failed = set_each(paths, names, enable, check)?;
    failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// The same, where one that fails keeps the others back from nothing.
///
/// # Errors
/// When systemd doesn't hear of it.
fn set_each(
    paths: &Paths,
    names: &[GuestName],
    enable: bool,
    check: Check<'_>,
) -> Result<Vec<(GuestName, Error)>> {
    let by_systemd = systemd::starts_guests(paths);
    let set = |name: &GuestName| match (by_systemd, enable) {
        (false, _) => set(paths, name, enable, check),
        (true, true) => {
            config::load(paths, name)?;
            systemd::enable(name, true)
        }
        (true, false) => {
            // A link goes, whatever the file says.
            let written = set(paths, name, false, check);
            systemd::enable(name, false).and(written)
        }
    };
    let failed = names.iter().filter_map(|name| Some((name.clone(), set(name).err()?))).collect();
    if by_systemd {
        systemd::reload()?;
        if enable && !systemd::starts_any() {
            output::warn(
                "nothing starts with this host, since 'vservers.target' is disabled: \
                 systemctl enable vservers.target",
            );
        }
    }
    Ok(failed)
}

/// Writes it into the guest's file.
fn set(paths: &Paths, name: &GuestName, enable: bool, check: Check<'_>) -> Result<()> {
    let _lock = turn::wait_unless(paths, name, check)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::delete;
    use crate::runtime::Lock;

    #[test]
    fn waiting_for_others_can_be_ended() {
        let prefix = tempfile::tempdir().unwrap();
        let (paths, web) = (Paths::new(prefix.path()), "web".parse().unwrap());
        std::fs::create_dir_all(paths.config_dir()).unwrap();
        std::fs::write(paths.config(&web), "autostart = true\n").unwrap();
        let asked = || Err(Error::new("interrupted"));
        let disable = || set_all(&paths, std::slice::from_ref(&web), false, &asked);
        let held = Lock::wait(&paths.lock(&web)).unwrap();
        assert_eq!(disable().unwrap_err().to_string(), "interrupted");
        assert_eq!(delete::now(&paths, &web, &asked).unwrap_err().to_string(), "interrupted");
        assert!(config::load(&paths, &web).unwrap().autostart);
        // What was asked before doesn't keep it from anything.
        drop(held);
        disable().unwrap();
        assert!(!config::load(&paths, &web).unwrap().autostart);
    }
}
