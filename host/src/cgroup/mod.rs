//! A guest's cgroups, in the v2 hierarchy only.
//!
//! `vserver[-INSTANCE]/NAME` is the outer one, with the eBPF programs; or, where
//! systemd starts guests, `payload` in the unit's own (see `place`). Below it
//! stand `guest-N`, fresh at every boot, for all that runs in the guest;
//! `keeper`; and `session`, for what the host has to do for `enter` and `exec`
//! (see `lobby`).
//!
//! `guest-N` has the guest's limits. In it lie `inside/root`, the root of the
//! guest's cgroup namespace, which the guest's root owns, and `beside`, for
//! programs of sessions that can't be in that (see `leaf`). The files of its
//! root could be written from inside by a root with the host's ids, unless the
//! hierarchy is mounted with `nsdelegate` (cgroup v2 kernel doc), so nothing
//! of the host's is in them; `inside` may have a few processes less than
//! `guest-N`, which are for `beside`.

mod addresses;
mod freeze;
mod leaf;
mod limits;
mod lobby;
mod place;
mod programs;
mod serving;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::paths::Paths;

pub use addresses::set_addresses;
pub use leaf::{beside, inner, is_full, open, open_leaf, reserve};
pub use limits::{Before, Left, Place, Setting, restore};
pub use lobby::Lobby;
pub use place::{PAYLOAD, Places, SUPERVISOR, unit, unit_in, unit_template};
pub use serving::{Serving, ServingIds};

/// Files of a cgroup that are handed over with it (cgroup v2 kernel doc,
/// "Model of Delegation").
const DELEGATED: [&str; 3] = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

/// Bounds on what a guest may make inside: without them its root could nest
/// cgroups, with names of 255 bytes, beyond the longest path (`PATH_MAX`),
/// where `/proc/PID/cgroup` can't name them and nobody removes them by it; or
/// fill the kernel's memory with them.
const BOUNDS: [(&str, &str); 2] = [("cgroup.max.depth", "15"), ("cgroup.max.descendants", "10000")];

/// Controllers that count for accounts, and give every guest, and sessions
/// beside it, a share of the processors of its own.
const COUNTERS: [&str; 3] = ["cpu", "io", "memory"];

/// Controllers that a guest's own systemd limits its services with, where the
/// host has them to hand on.
const HANDED_ON: [&str; 5] = ["cpu", "cpuset", "io", "memory", PIDS];

/// The one that is handed on from Linux 6.11 on: before, the kernel counts a
/// refused fork where the process is, and not where the limit is.
const PIDS: &str = "pids";

/// A file that every cgroup with that controller has since then (cgroup v2
/// kernel doc, "PID Interface Files").
const PIDS_LOCAL: &str = "pids.events.local";

/// The name of the inner cgroup, and of that around it.
const ROOT: &str = "root";
const INSIDE: &str = "inside";

/// The cgroups of one guest.
#[derive(Clone, Debug)]
pub struct GuestCgroup {
    mount: PathBuf,
    outer: PathBuf,
    /// vserver's own, around those of all guests.
    top: PathBuf,
}

impl GuestCgroup {
    /// A guest's cgroups where they are, or where they would be made without a
    /// unit; nothing is made yet.
    ///
    /// # Errors
    /// When no cgroup v2 hierarchy is mounted.
    pub fn new(paths: &Paths, name: &GuestName) -> Result<Self> {
        let places = Places::new(paths)?;
        let top = places.top();
        let outer = places.outer(name).unwrap_or_else(|| top.join(name.as_str()));
        Ok(Self { mount: places.mount().to_owned(), outer, top })
    }

    /// The same for the guest's supervisor: in its unit, if it is the unit's
    /// own process. A guest that runs stays where it is.
    ///
    /// # Errors
    /// When no cgroup v2 hierarchy is mounted.
    pub fn of_supervisor(paths: &Paths, name: &GuestName) -> Result<Self> {
        let found = Self::new(paths, name)?;
        if Self::populated(&found.outer) {
            return Ok(found);
        }
        let outer = match own_unit(paths, name) {
            Some(unit) => unit.join(PAYLOAD),
            None => found.top.join(name.as_str()),
        };
        Ok(Self { outer, ..found })
    }

    /// Does systemd hold it as a unit?
    pub fn is_in_unit(&self) -> bool {
        !self.outer.starts_with(&self.top)
    }

    /// The outer cgroup's directory.
    pub fn outer(&self) -> &Path {
        &self.outer
    }

    /// The directory of the cgroup by which guests are weighed against each other:
    /// beside that of a unit there are other units, beside the outer one in it the
    /// supervisor alone.
    pub fn weighed(&self) -> &Path {
        match self.outer.parent() {
            Some(unit) if self.is_in_unit() => unit,
            _ => &self.outer,
        }
    }

    /// The directory of the cgroup with the limits of boot number `boot`, which
    /// counts what all of that boot uses.
    pub fn limited(&self, boot: u32) -> PathBuf {
        self.outer.join(format!("guest-{boot}"))
    }

    /// The number of the last boot that there is a cgroup of.
    pub fn last_boot(&self) -> Option<u32> {
        let entries = fs::read_dir(&self.outer).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.strip_prefix("guest-")?.parse().ok()).max()
    }

    /// The directory of the cgroup that boot number `boot` runs in.
    pub fn inner(&self, boot: u32) -> PathBuf {
        inner(&self.limited(boot))
    }

    /// The directory around that, where the guest's own processes are counted.
    fn inside(&self, boot: u32) -> PathBuf {
        self.limited(boot).join(INSIDE)
    }

    /// The directory of what the host does for sessions (`enter`, `exec`).
    pub fn session(&self) -> PathBuf {
        self.outer.join("session")
    }

    /// The leaf of the keeper.
    pub fn keeper(&self) -> PathBuf {
        self.outer.join("keeper")
    }

    /// Makes all cgroups of a boot; the inner one belongs to `owner`, the
    /// host uid of the guest's root. Returns it, opened for clone3.
    ///
    /// # Errors
    /// Those of mkdir(2), chown(2), and of writing the cgroups' files.
    pub fn create(&self, boot: u32, owner: u32) -> io::Result<OwnedFd> {
        let inner = self.inner(boot);
        fs::create_dir_all(&inner)?;
        self.create_leaves(boot)?;
        for (file, most) in BOUNDS {
            fs::write(self.limited(boot).join(file), most)?;
        }
        for controller in COUNTERS {
            // Without it a figure is missing, and nothing else.
            if self.may_enable(controller)
                && let Err(error) = self.enable(controller)
            {
                tracing::warn!("cgroups don't count {controller}: {error}");
            }
        }
        for controller in HANDED_ON {
            if self.may_enable(controller)
                && let Err(error) = self.hand_on(boot, controller)
            {
                tracing::warn!("the guest has no controller {controller} of its own: {error}");
            }
        }
        chown(&inner, Some(owner), Some(owner))?;
        for file in DELEGATED {
            chown(inner.join(file), Some(owner), Some(owner))?;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&inner, flags, Mode::empty())?)
    }

    /// Makes those for what isn't of the guest's own. systemd removes what is empty
    /// of a unit that ends, even while the guest runs on.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn create_leaves(&self, boot: u32) -> io::Result<()> {
        let leaves = [beside(&self.limited(boot)), self.keeper(), self.session()];
        leaves.iter().try_for_each(fs::create_dir_all)
    }

    /// Has the cgroup around the outer one this controller to hand on? That of
    /// the hierarchy's root is the host's to change, and nobody's here.
    fn may_enable(&self, controller: &str) -> bool {
        let around = self.outer.parent().map(|around| around.join("cgroup.controllers"));
        let has = around.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        has.split_ascii_whitespace().any(|name| name == controller)
    }

    /// Enables a controller for the guest's cgroups, which stand below two of
    /// vserver's own, or of the unit's.
    fn enable(&self, controller: &str) -> io::Result<()> {
        for branch in [self.outer.parent(), Some(&self.outer)].into_iter().flatten() {
            fs::write(branch.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
        Ok(())
    }

    /// Gives the guest's own tree a controller, below all its limits, if that
    /// hides nothing from its accounts.
    fn hand_on(&self, boot: u32, controller: &str) -> io::Result<()> {
        self.enable(controller)?;
        if controller == PIDS && !self.limited(boot).join(PIDS_LOCAL).exists() {
            return Ok(());
        }
        for branch in [self.limited(boot), self.inside(boot)] {
            fs::write(branch.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
        Ok(())
    }

    /// Kills every process of the guest and of its sessions, not the keeper
    /// (`cgroup.kill`, Linux 5.14: also what forks meanwhile or is frozen).
    ///
    /// # Errors
    /// Those of write(2); a cgroup that is not there is no error.
    pub fn kill(&self, boot: u32) -> io::Result<()> {
        for directory in [self.limited(boot), self.session()] {
            ignore_missing(fs::write(directory.join("cgroup.kill"), "1"))?;
        }
        Ok(())
    }

    /// Kills the keeper.
    ///
    /// # Errors
    /// Those of write(2); a cgroup that is not there is no error.
    pub fn kill_keeper(&self) -> io::Result<()> {
        ignore_missing(fs::write(self.keeper().join("cgroup.kill"), "1"))
    }

    /// Kills whatever is in the outer cgroup, the keeper included.
    ///
    /// # Errors
    /// Those of write(2); a cgroup that is not there is no error.
    pub fn kill_all(&self) -> io::Result<()> {
        ignore_missing(fs::write(self.outer.join("cgroup.kill"), "1"))
    }

    /// Is any process left in this cgroup or below it?
    pub fn populated(directory: &Path) -> bool {
        fs::read_to_string(directory.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// Number of the guest's processes, programs of sessions among them.
    pub fn count(&self, boot: u32) -> usize {
        count(&self.limited(boot))
    }

    /// Removes everything of this guest, and the top directory if no other
    /// guest uses it.
    ///
    /// # Errors
    /// EBUSY if processes are left at the deadline.
    pub fn remove_all(&self, patience: Duration) -> io::Result<()> {
        remove(&self.outer, patience)?;
        if !self.is_in_unit() {
            let _ = fs::remove_dir(&self.top);
        }
        Ok(())
    }
}

/// The cgroup of a guest's unit, if this process is in it.
pub fn own_unit(paths: &Paths, name: &GuestName) -> Option<PathBuf> {
    let places = Places::new(paths).ok()?;
    let own = own().ok()?;
    places.unit_of(own.strip_prefix(places.mount()).ok()?, name)
}

/// Is a process of the host's in the unit of this guest?
pub fn is_in_unit(pid: i32, name: &GuestName) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    path_in(&text).and_then(unit_in).is_some_and(|(unit, _)| unit == *name)
}

/// The cgroup that `/proc/PID/cgroup` names (cgroups(7)), relative to the top of the
/// hierarchy.
pub fn path_in(lines: &str) -> Option<&Path> {
    lines.lines().find_map(|line| line.strip_prefix("0::/")).map(Path::new)
}

/// The ids in a file of this cgroup and of all below it: `cgroup.procs` or
/// `cgroup.threads`. A guest decides what is below its own.
pub fn ids(directory: &Path, file: &str) -> BTreeSet<i32> {
    let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
    // 0 is a process of another PID namespace.
    let own = text.lines().filter_map(|line| line.parse().ok()).filter(|id| *id > 0);
    let mut all: BTreeSet<i32> = own.collect();
    for child in children(directory) {
        all.extend(ids(&child, file));
    }
    all
}

/// Moves the calling process into a cgroup.
///
/// # Errors
/// Those of write(2) on `cgroup.procs`.
pub fn enter(directory: &Path) -> io::Result<()> {
    fs::write(directory.join("cgroup.procs"), "0")
}

/// The directory of the calling process's cgroup.
///
/// # Errors
/// When it isn't below the mounted hierarchy.
pub fn own() -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")
        .map_err(|error| Error::os("cannot read '/proc/self/cgroup'", error))?;
    let path = path_in(&text).unwrap_or(Path::new(""));
    let directory = find_mount()?.join(path);
    if directory.is_dir() && !path.starts_with("..") {
        return Ok(directory);
    }
    Err(Error::new(format!(
        "this process's cgroup, '/{}', can't be reached from here",
        path.display()
    )))
}

/// Removes a cgroup and all below it, if no process is there.
///
/// # Errors
/// EBUSY if one is.
pub fn remove_empty(directory: &Path) -> io::Result<()> {
    remove_tree(directory)
}

/// Writes a file of a cgroup's. Without O_CREAT, which gives EACCES for one that isn't
/// there (open(2)).
fn write(file: &Path, text: &str) -> io::Result<()> {
    fs::File::options().write(true).open(file)?.write_all(text.as_bytes())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn count(directory: &Path) -> usize {
    let own = fs::read_to_string(directory.join("cgroup.procs")).map_or(0, |t| t.lines().count());
    own + children(directory).iter().map(|child| count(child)).sum::<usize>()
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let entries = entries.filter_map(io::Result::ok);
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Waits until a cgroup is empty and removes it with all below it.
///
/// # Errors
/// EBUSY if processes are left at the deadline.
fn remove(directory: &Path, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match remove_tree(directory) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                if Instant::now() >= deadline {
                    return Err(error);
                }
                // The kernel takes dying processes out a moment after
                // their end was reported.
                std::thread::sleep(Duration::from_millis(2));
            }
            done => return done,
        }
    }
}

/// A guest may have made cgroups of its own inside; in this file system
/// there are no links that could lead elsewhere.
fn remove_tree(directory: &Path) -> io::Result<()> {
    for child in children(directory) {
        remove_tree(&child)?;
    }
    ignore_missing(fs::remove_dir(directory))
}

/// Where cgroup v2 is mounted: `/sys/fs/cgroup`, or `…/unified` on hosts
/// whose controllers still sit on v1.
///
/// # Errors
/// When it is mounted nowhere.
pub fn find_mount() -> Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|error| Error::os("cannot read '/proc/self/mountinfo'", error))?;
    mount_from(&table).ok_or_else(|| {
        Error::new("no cgroup v2 hierarchy is mounted")
            .hint("mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    })
}

/// Finds the mount point in the text of `/proc/PID/mountinfo` (proc(5)): the
/// type stands after a lone "-", the mount point is field 5, the root of the
/// mount, field 4, is "/" unless only a part is mounted there.
fn mount_from(table: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (after.split(' ').next()? == "cgroup2" && root == "/").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_v2_mount_is_found_on_hybrid_hosts() {
        let table = "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                     31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                     32 30 0:28 /part /mnt rw shared:5 - cgroup2 cgroup2 rw\n\
                     33 30 0:28 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_from(table), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_from(""), None);
    }
}
