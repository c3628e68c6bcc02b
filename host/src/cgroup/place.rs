//! Where guests' outer cgroups are.
//!
//! By itself vserver keeps them in one cgroup of its own at the top of the
//! hierarchy. On a host whose systemd starts guests, `vserver@NAME.service`
//! has been handed its cgroup (`Delegate=`, systemd.resource-control(5)), and
//! the guest lies in that, in `payload`, beside the `supervisor`. Which slice
//! the unit is in is the administrator's choice.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::error::Result;
use crate::paths::Paths;

/// In a unit's cgroup, that of the guest.
pub const PAYLOAD: &str = "payload";

/// In a unit's cgroup, that of the supervisor. Processes of a unit can't be
/// in the unit's own cgroup once it has enabled controllers (cgroup v2 kernel
/// doc, "No Internal Process Constraint").
pub const SUPERVISOR: &str = "supervisor";

/// How deep slices may be nested.
const DEEPEST: usize = 8;

/// The unit of a guest.
pub fn unit(name: &GuestName) -> String {
    format!("{UNIT}{name}{SERVICE}")
}

/// The template of all of them (systemd.unit(5)).
pub fn unit_template() -> String {
    format!("{UNIT}{SERVICE}")
}

/// Around a guest's name.
const UNIT: &str = "vserver@";
const SERVICE: &str = ".service";

/// The guest whose unit a cgroup is, or is below, with the unit's own cgroup;
/// both relative to the top of the hierarchy. Only systemd makes units right
/// below its slices: what bears such a name further down was made by whoever
/// has been handed the cgroup above it.
pub fn unit_in(path: &Path) -> Option<(GuestName, PathBuf)> {
    let mut directory = PathBuf::new();
    for part in path {
        directory.push(part);
        let part = part.to_str()?;
        if part.ends_with(".slice") {
            continue;
        }
        let name = part.strip_prefix(UNIT)?.strip_suffix(SERVICE)?;
        return Some((name.parse().ok()?, directory));
    }
    None
}

/// Where this installation's guests are in the hierarchy.
#[derive(Clone, Debug)]
pub struct Places {
    mount: PathBuf,
    /// Name of the cgroup of those without units.
    top: String,
    /// Units are of the installation with the usual paths only.
    has_units: bool,
}

impl Places {
    /// In the hierarchy that is mounted.
    ///
    /// # Errors
    /// When none is.
    pub fn new(paths: &Paths) -> Result<Self> {
        Ok(Self::at(super::find_mount()?, paths))
    }

    /// In one that is mounted there.
    pub fn at(mount: impl Into<PathBuf>, paths: &Paths) -> Self {
        let instance = paths.instance();
        let has_units = instance.is_empty();
        let top = if has_units { "vserver".to_owned() } else { format!("vserver-{instance}") };
        Self { mount: mount.into(), top, has_units }
    }

    /// Where the hierarchy is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// The cgroup of those without units.
    pub fn top(&self) -> PathBuf {
        self.mount.join(&self.top)
    }

    /// The guest that a cgroup belongs to, given relative to the mount, and
    /// which part of the guest's it is in.
    pub fn guest_of<'p>(&self, path: &'p Path) -> Option<(GuestName, &'p str)> {
        let word = |part: &'p OsStr| part.to_str().unwrap_or_default();
        if let Ok(rest) = path.strip_prefix(&self.top) {
            let mut names = rest.iter().map(word);
            return Some((names.next()?.parse().ok()?, names.next()?));
        }
        let (name, unit) = unit_in(path).filter(|_| self.has_units)?;
        let mut below = path.iter().skip(unit.iter().count()).map(word);
        (below.next()? == PAYLOAD).then_some(())?;
        Some((name, below.next()?))
    }

    /// The unit's cgroup around one that is given relative to the mount, if it
    /// is that of this guest.
    pub fn unit_of(&self, path: &Path, name: &GuestName) -> Option<PathBuf> {
        let (unit, directory) = unit_in(path).filter(|_| self.has_units)?;
        (unit == *name).then(|| self.mount.join(directory))
    }

    /// The outer cgroups of all guests that have one.
    pub fn outers(&self) -> BTreeMap<GuestName, PathBuf> {
        let mut found = BTreeMap::new();
        if self.has_units {
            collect(&self.mount, DEEPEST, &mut found);
        }
        for entry in fs::read_dir(self.top()).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok())
                && is_directory
            {
                found.insert(name, entry.path());
            }
        }
        found
    }

    /// The outer cgroup of one guest, if it has one.
    pub fn outer(&self, name: &GuestName) -> Option<PathBuf> {
        let own = self.top().join(name.as_str());
        if own.is_dir() {
            return Some(own);
        }
        if !self.has_units {
            return None;
        }
        let usual = self.mount.join("vserver.slice").join(unit(name)).join(PAYLOAD);
        if usual.is_dir() {
            return Some(usual);
        }
        self.outers().remove(name)
    }
}

fn collect(slice: &Path, depth: usize, found: &mut BTreeMap<GuestName, PathBuf>) {
    for entry in fs::read_dir(slice).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".slice") && depth > 0 {
            collect(&entry.path(), depth - 1, found);
        } else if let Some((guest, _)) = unit_in(Path::new(name)) {
            let payload = entry.path().join(PAYLOAD);
            if payload.is_dir() {
                found.insert(guest, payload);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_stands_right_below_its_slices() {
        let unit = |path: &str| {
            unit_in(Path::new(path))
                .map(|(name, unit)| (name.to_string(), unit.display().to_string()))
        };
        let web = |unit: &str| Some(("web".to_owned(), unit.to_owned()));
        let usual = "vserver.slice/vserver@web.service";
        assert_eq!(unit(usual), web(usual));
        assert_eq!(unit(&format!("{usual}/payload/guest-1/inside/root")), web(usual));
        let sold = "customers.slice/customers-gold.slice/vserver@web.service";
        assert_eq!(unit(&format!("{sold}/supervisor")), web(sold));
        for other in [
            "",
            "vserver.slice",
            "vserver/web/guest-1",
            "vserver.slice/vserver@.service",
            "vserver.slice/vserver@a b.service",
            "user.slice/user-1000.slice/user@1000.service/app.slice/vserver@web.service/payload",
            "vserver.slice/vserver@.service/vserver@web.service",
        ] {
            assert_eq!(unit(other), None, "{other}");
        }
        let nested = format!("{usual}/payload/guest-1/inside/root/vserver@db.service");
        assert_eq!(unit(&nested), web(usual));
    }

    #[test]
    fn guests_are_found_in_any_slice() {
        let mount = tempfile::tempdir().unwrap();
        for directory in [
            "vserver/db",
            "vserver.slice/vserver@web.service/payload",
            "a.slice/a-b.slice/vserver@mail.service/payload",
            "vserver.slice/vserver@gone.service/supervisor",
            "user@1.service/vserver.slice/vserver@forged.service/payload",
        ] {
            fs::create_dir_all(mount.path().join(directory)).unwrap();
        }
        let places = Places::at(mount.path(), &Paths::new("/"));
        let names = |places: &Places| -> Vec<String> {
            places.outers().keys().map(GuestName::to_string).collect()
        };
        assert_eq!(names(&places), ["db", "mail", "web"]);
        assert!(names(&Places::at(mount.path(), &Paths::new("/elsewhere"))).is_empty());
        let outer = |name: &str| places.outer(&name.parse().unwrap());
        assert_eq!(outer("db"), Some(mount.path().join("vserver/db")));
        for (name, slice) in [("mail", "a.slice/a-b.slice"), ("web", "vserver.slice")] {
            let place = format!("{slice}/vserver@{name}.service/payload");
            assert_eq!(outer(name), Some(mount.path().join(place)));
        }
        assert_eq!(outer("gone"), None);
    }
}
