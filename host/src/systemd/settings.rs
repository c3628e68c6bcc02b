//! What administrators have set for a guest's units: drop-ins, unit files, links. It
//! lies in files that are named after the guest.

use std::fs;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use super::generator::adopting;
use crate::cgroup;

/// Where `systemctl edit`, `mask` and `enable` put it, for good and until the host's
/// next boot (systemctl(1)).
const EDITED: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];

/// The same of `set-property` (systemd.unit(5), "Unit File Load Path").
const CONTROLLED: [&str; 2] = ["/etc/systemd/system.control", "/run/systemd/system.control"];

/// Where a guest's may lie, of which most is not there. Of two guests the same stands at
/// the same place.
pub fn settings(name: &GuestName) -> Vec<PathBuf> {
    let units = [cgroup::unit(name), adopting(name)];
    let files = units.iter().flat_map(|unit| [format!("{unit}.d"), unit.clone()]);
    let directories = || EDITED.iter().chain(&CONTROLLED).map(Path::new);
    files.flat_map(|file| directories().map(move |directory| directory.join(&file))).collect()
}

/// Has somebody enabled a guest's unit for good? Its `autostart = true` makes no such link,
/// but one of the generator's.
pub fn is_linked(name: &GuestName) -> bool {
    is_linked_in(Path::new(EDITED[0]), name)
}

fn is_linked_in(directory: &Path, name: &GuestName) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    let unit = cgroup::unit(name);
    let wants = |path: &PathBuf| {
        let kind = path.extension().unwrap_or_default();
        kind == "wants" || kind == "requires"
    };
    let mut wanting = entries.flatten().map(|entry| entry.path()).filter(wants);
    wanting.any(|path| path.join(&unit).symlink_metadata().is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn both_units_may_have_settings() {
        let of = |name: &str| settings(&name.parse().unwrap());
        let (web, db) = (of("web"), of("db"));
        for path in [
            "/etc/systemd/system/vserver@web.service.d",
            "/etc/systemd/system/vserver@web.service",
            "/run/systemd/system.control/vserver@web.service.d",
            "/etc/systemd/system.control/vserver-adopt@web.service.d",
        ] {
            assert!(web.contains(&path.into()), "{path} of {web:?}");
        }
        let renamed = |path: &PathBuf| path.display().to_string().replace("@web.", "@db.");
        assert!(web.iter().map(renamed).eq(db.iter().map(|path| path.display().to_string())));
    }

    #[test]
    fn a_link_makes_a_guest_enabled() {
        let place = tempfile::tempdir().unwrap();
        let is_linked = |name: &str| is_linked_in(place.path(), &name.parse().unwrap());
        assert!(!is_linked("web"));
        for (directory, name) in [("vservers.target.wants", "web"), ("x.service.requires", "db")] {
            fs::create_dir(place.path().join(directory)).unwrap();
            let unit = format!("vserver@{name}.service");
            symlink("/lib/nowhere", place.path().join(directory).join(unit)).unwrap();
            assert!(is_linked(name));
        }
        assert!(
            !is_linked("mail")
                && !is_linked_in(&place.path().join("none"), &"web".parse().unwrap())
        );
    }
}
