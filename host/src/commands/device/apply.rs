//! Has a running guest have devices. What it loses is taken first, by its
//! filter, and never given back after an error: its /dev belongs to a hostile
//! root, who could otherwise keep a right by what stands there.

use std::io;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags, openat};
use shared::name::GuestName;

use crate::cgroup::GuestCgroup;
use crate::commands::output;
use crate::control::{Client, Snapshot};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::launch::{KeptDevices, RunningDevices};
use crate::membership::{self, Context, Membership};
use crate::paths::Paths;
use crate::plan::devices::{self, Given};
use crate::runtime::RunDir;

/// How often a guest may have been rebooted since the command began.
const BOOTS: usize = 5;

/// How a guest is that has a PID 1.
pub(super) fn running(paths: &Paths, name: &GuestName) -> Result<Option<Snapshot>> {
    let found = Client::find(paths, name)?.map(|(_, status)| status);
    Ok(found.filter(|status| status.init_pid > 0))
}

/// The devices of this boot.
pub(super) fn kept(paths: &Paths, name: &GuestName, status: &Snapshot) -> Result<KeptDevices> {
    KeptDevices::read(&RunDir::new(paths, name), status.boot).map_err(|cause| {
        Error::os(format_args!("cannot see which devices guest '{name}' has"), cause)
            .hint(format!("its next boot notes them: vserver reboot {name}"))
    })
}

/// Has the guest have what is wanted of it, if it runs, `again` with a node if
/// it has removed that. The number of the boot that has it: while the lock is
/// held, the guest may be rebooted by itself, and the filter written have
/// become that of the next boot.
pub(super) fn follow(
    paths: &Paths,
    name: &GuestName,
    again: Option<&str>,
    wanted: impl Fn(&KeptDevices) -> Result<KeptDevices>,
) -> Result<Option<u32>> {
    for _ in 0..BOOTS {
        let Some(status) = running(paths, name)? else { return Ok(None) };
        let now = kept(paths, name, &status)?;
        let then = wanted(&now)?;
        let done = apply(paths, name, &status, &now, &then, again);
        if running(paths, name)?.is_some_and(|then| then.boot == status.boot) {
            return done.map(|()| Some(status.boot));
        }
    }
    Err(Error::new(format!("guest '{name}' was rebooted {BOOTS} times while its devices changed"))
        .hint(format!("see what it has: vserver device list {name}")))
}

/// Has this boot have these devices.
fn apply(
    paths: &Paths,
    name: &GuestName,
    status: &Snapshot,
    now: &KeptDevices,
    then: &KeptDevices,
    again: Option<&str>,
) -> Result<()> {
    if now.is_nested {
        return if now == then { Ok(()) } else { Err(comes_with_the_boot(name)) };
    }
    let mut less = KeptDevices {
        given: devices::narrowed(&now.given, &then.given),
        is_under_way: false,
        ..now.clone()
    };
    less.removed.extend(then.removed.iter().filter(|name| !now.removed.contains(name)).cloned());
    let cgroup = GuestCgroup::new(paths, name)?;
    let change = Change { name, run: RunDir::new(paths, name), cgroup, now, less, then };
    change.take()?;
    let place = root(paths, name, status)
        .and_then(|root| RunningDevices::find(&root, now).map_err(|cause| change.unable(cause)));
    change.clear(&place);
    change.give(place, again)
}

/// What a boot has, what it has at least on the way, and what it is to have.
struct Change<'a> {
    name: &'a GuestName,
    run: RunDir,
    cgroup: GuestCgroup,
    now: &'a KeptDevices,
    less: KeptDevices,
    then: &'a KeptDevices,
}

impl Change<'_> {
    /// Takes what it is to lose. Nothing that the guest does to its /dev can
    /// keep it from that.
    fn take(&self) -> Result<()> {
        // Also if nothing changes: the filter may be one that was meant for
        // the boot before.
        self.filter(&self.less.given).map_err(|cause| {
            Error::os(format_args!("cannot change devices of guest '{}'", self.name), cause)
                .hint("nothing was changed")
        })?;
        if self.takes() || self.less.removed != self.now.removed {
            self.less.write(&self.run).map_err(|cause| self.unable(cause))?;
        }
        Ok(())
    }

    /// Removes the nodes of what it has lost, if it has left them there.
    fn clear(&self, place: &Result<RunningDevices>) {
        for old in devices::nodes(&self.now.given, &self.then.given).0 {
            let removed = match place {
                Ok(place) => place.remove(old).map_err(|cause| cause.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = removed {
                self.warn(old, "was not removed", &why);
            }
        }
    }

    /// Gives it what it is to have more. After an error it has nothing of
    /// that.
    fn give(&self, place: Result<RunningDevices>, again: Option<&str>) -> Result<()> {
        let got = devices::nodes(&self.now.given, &self.then.given).1;
        let then = self.then.given.iter();
        let mut made: Vec<&Given> =
            if self.now.is_under_way { then.collect() } else { got.clone() };
        let again = self.then.given.iter().find(|given| Some(given.device.name.as_str()) == again);
        if self.takes() && !devices::adds(&self.less.given, &self.then.given) {
            let remade = again.map(|given| match &place {
                Ok(place) => (given, place.make(given).map_err(|cause| cause.to_string())),
                Err(error) => (given, Err(error.to_string())),
            });
            if let Some((given, Err(why))) = remade {
                self.warn(given, "was not made again", &why);
            }
        } else {
            made.extend(again);
        }
        let end = KeptDevices { is_under_way: false, ..self.then.clone() };
        if made.is_empty() && end == self.less {
            return Ok(());
        }
        let place = if made.is_empty() { place.ok() } else { Some(place?) };
        // First the note: nobody has a right that isn't listed.
        let noted = KeptDevices { is_under_way: true, ..end.clone() }.write(&self.run);
        let given = noted
            .and_then(|()| {
                let mut nodes =
                    place.iter().flat_map(|place| made.iter().map(move |new| (place, new)));
                nodes.try_for_each(|(place, new)| place.make(new))
            })
            .and_then(|()| self.filter(&end.given))
            .and_then(|()| end.write(&self.run));
        given.map_err(|cause| {
            let _ = self.filter(&self.less.given);
            for (place, new) in
                place.iter().flat_map(|place| got.iter().map(move |new| (place, new)))
            {
                let _ = place.remove(new);
            }
            let _ = self.less.write(&self.run);
            self.unable(cause)
        })
    }

    fn filter(&self, given: &[Given]) -> io::Result<()> {
        let rules = devices::rules(given);
        if self.now.is_filtered { self.cgroup.filter_devices(&rules) } else { Ok(()) }
    }

    fn takes(&self) -> bool {
        devices::adds(&self.less.given, &self.now.given)
    }

    fn warn(&self, given: &Given, what: &str, why: &str) {
        let (name, path) = (self.name, &given.device.name);
        output::warn(format_args!("the node '/dev/{path}' of guest '{name}' {what}: {why}"));
    }

    fn unable(&self, cause: io::Error) -> Error {
        let reason = match cause.raw_os_error() {
            Some(libc::EEXIST) => {
                "the guest has something else of that name in its /dev: see there"
            }
            Some(libc::ESTALE) => {
                "the guest has put something else in the place of its /dev: reboot it"
            }
            _ => "nothing was given to it",
        };
        let taken = if self.takes() { "; what it was to lose is taken from it" } else { "" };
        Error::os(format_args!("cannot change devices of guest '{}'", self.name), cause)
            .hint(format!("{reason}{taken}"))
    }
}

fn comes_with_the_boot(name: &GuestName) -> Error {
    Error::new(format!("cannot change devices of guest '{name}' while it runs")).hint(format!(
        "a guest's own guests get them when they boot: vserver config set {name} devices.allow"
    ))
}

/// The root of a guest that runs.
fn root(paths: &Paths, name: &GuestName, status: &Snapshot) -> Result<RootDir> {
    let pid = status.init_pid;
    let path = PathBuf::from(format!("/proc/{pid}/root"));
    let gone = |cause: io::Error| Error::path("open", &path, cause);
    let membership = Membership::read(paths)?;
    let init = membership.open(&Context::Guest(name.clone()), pid).map_err(gone)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, &path, flags, Mode::empty());
    // If it still lives, the number was its own until now.
    membership::signal(&init, 0).map_err(gone)?;
    let root = root.map_err(|cause| gone(cause.into()))?;
    Ok(RootDir::from_fd(root, path.clone()))
}
