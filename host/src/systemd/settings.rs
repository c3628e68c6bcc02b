//! What administrators have set for a guest's units: drop-ins, unit files, links. It
//! lies in files that are named after the guest.

use std::fs;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use super::generator::adopting;
use super::manager::DIRECTORIES;
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

/// Is a guest started with the host, as far as systemd itself was told? What `systemctl
/// is-enabled` says, from the same files: systemd may be busy, and there may be many guests.
pub fn is_enabled(name: &GuestName) -> bool {
    is_enabled_in(&DIRECTORIES.map(Path::new), name)
}

/// The directories in their order: of two unit files of one name the first counts.
fn is_enabled_in(directories: &[&Path], name: &GuestName) -> bool {
    let first = |file: &str| {
        directories.iter().find_map(|directory| fs::metadata(directory.join(file)).ok())
    };
    let file = first(&cgroup::unit(name)).or_else(|| first(&cgroup::unit_template()));
    // `systemctl mask` makes a link to /dev/null; an empty file does the same.
    let is_masked = file.is_some_and(|file| !file.is_file() || file.len() == 0);
    !is_masked && directories.iter().any(|directory| is_linked_in(directory, name))
}

fn is_linked_in(directory: &Path, name: &GuestName) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    let unit = cgroup::unit(name);
    let wants = |path: &PathBuf| {
        let kind = path.extension().unwrap_or_default();
        ["wants", "requires", "upholds"].iter().any(|wanting| kind == *wanting)
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

    #[test]
    fn what_is_masked_is_not_enabled() {
        let place = tempfile::tempdir().unwrap();
        let [own, runtime, package] = ["etc", "run", "lib"].map(|name| place.path().join(name));
        let is_enabled =
            |name: &str| is_enabled_in(&[&own, &runtime, &package], &name.parse().unwrap());
        for (directory, name) in [(&own, "web"), (&runtime, "db"), (&package, "mail")] {
            let wants = directory.join("vservers.target.wants");
            fs::create_dir_all(&wants).unwrap();
            assert!(!is_enabled(name));
            symlink("/lib/nowhere", wants.join(format!("vserver@{name}.service"))).unwrap();
            assert!(is_enabled(name), "without a file of its unit");
        }
        fs::write(package.join("vserver@.service"), "[Service]").unwrap();
        symlink("/dev/null", runtime.join("vserver@web.service")).unwrap();
        fs::write(runtime.join("vserver@db.service"), "").unwrap();
        assert_eq!(["web", "db", "mail"].map(is_enabled), [false, false, true]);
        fs::write(own.join("vserver@web.service"), "[Service]").unwrap();
        symlink("/dev/null", own.join("vserver@.service")).unwrap();
        assert_eq!(["web", "db", "mail"].map(is_enabled), [true, false, false]);
    }
}
