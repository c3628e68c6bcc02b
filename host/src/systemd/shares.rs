//! A guest's share of processors and block devices, where it is a unit.
//!
//! What competes with other guests there is the unit's own cgroup, and its files
//! are systemd's to write
//! (systemd.resource-control(5); `CGROUP_DELEGATION.md`, "single-writer rule").
//! So the generator says them in a drop-in, and systemd is told when they have
//! changed. Drop-ins of all directories count in the order of their names, the
//! last one most (systemd.unit(5)): this one has a low number, so that what an
//! administrator has set by `systemctl set-property` (`50-CPUWeight.conf`) or
//! `systemctl edit` (`override.conf`) is what holds.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use super::known::GENERATED;
use super::{File, manager, reload};
use crate::cgroup;
use crate::config::Limits;
use crate::config::limits::Shares;
use crate::error::Result;

/// The drop-in with a guest's shares; none without any.
pub fn shares(name: &GuestName, limits: &Limits) -> Option<File> {
    text(limits).map(|text| File::Text { path: path(name), text })
}

/// Has systemd know a guest's shares, if it doesn't. For a unit that runs it notes them,
/// and writes them to its cgroup at its next start (measured with 257): see
/// [`known_shares`].
///
/// # Errors
/// What systemctl(1) says.
pub fn tell_shares(name: &GuestName, limits: &Limits) -> Result<()> {
    if is_known(Path::new(GENERATED), name, limits) { Ok(()) } else { reload() }
}

/// The shares that systemd has noted for a guest's unit, whoever has told it. What isn't
/// a weight (`idle`) is `None`.
///
/// # Errors
/// What systemctl(1) says.
pub fn known_shares(name: &GuestName) -> Result<Shares> {
    Ok(read(&manager::properties(name, "CPUWeight,IOWeight")?))
}

fn read(text: &str) -> Shares {
    let weight = |property: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        match lines.find(|(name, _)| *name == property)?.1 {
            // The second: how it was before version 253.
            "[not set]" | "18446744073709551615" => Some(100),
            weight => weight.parse().ok().filter(|weight| (1..=10_000).contains(weight)),
        }
    };
    Shares { cpu: weight("CPUWeight"), io: weight("IOWeight") }
}

/// Is what the generator has written last what it would write now?
fn is_known(directory: &Path, name: &GuestName, limits: &Limits) -> bool {
    fs::read_to_string(directory.join(path(name))).ok() == text(limits)
}

fn path(name: &GuestName) -> PathBuf {
    PathBuf::from(format!("{}.d", cgroup::unit(name))).join("10-shares.conf")
}

fn text(limits: &Limits) -> Option<String> {
    let shares = limits.shares();
    let mut text = String::new();
    for (property, weight) in [("CPUWeight", shares.cpu), ("IOWeight", shares.io)] {
        if let Some(weight) = weight {
            let _ = writeln!(text, "{property}={weight}");
        }
    }
    (!text.is_empty()).then(|| format!("[Service]\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Limits {
        crate::config::parse::parse(&format!("[limits]\n{text}\n")).unwrap().limits
    }

    #[test]
    fn a_unit_has_its_guests_shares() {
        let web = "web".parse().unwrap();
        let shown = |text: &str| match shares(&web, &limits(text)) {
            Some(File::Text { path, text }) => format!("{}: {text}", path.display()),
            _ => String::new(),
        };
        assert_eq!(
            shown("cpu_weight = 200\nio_weight = 50"),
            "vserver@web.service.d/10-shares.conf: [Service]\nCPUWeight=200\nIOWeight=50\n"
        );
        assert!(shown("nice = 5").ends_with("[Service]\nCPUWeight=33\n"));
        assert_eq!(shown("memory = \"1G\""), "");
    }

    /// By the order of names, as systemd has it.
    #[test]
    fn an_administrators_own_settings_come_later() {
        let own = path(&"web".parse().unwrap());
        let own = own.file_name().unwrap().to_str().unwrap();
        for theirs in ["50-CPUWeight.conf", "50-IOWeight.conf", "override.conf"] {
            assert!(own < theirs, "{own} {theirs}");
        }
    }

    #[test]
    fn what_systemd_has_noted_is_read() {
        let shares = |cpu, io| Shares { cpu, io };
        assert_eq!(read("CPUWeight=200\nIOWeight=[not set]\n"), shares(Some(200), Some(100)));
        let old = "IOWeight=50\nCPUWeight=18446744073709551615\n";
        assert_eq!(read(old), shares(Some(100), Some(50)));
        assert_eq!(read("CPUWeight=idle\nIOWeight=0\n"), shares(None, None));
        assert_eq!(read(""), shares(None, None));
    }

    #[test]
    fn systemd_is_told_what_it_does_not_know() {
        let (directory, web) = (tempfile::tempdir().unwrap(), "web".parse().unwrap());
        let known = |text: &str| is_known(directory.path(), &web, &limits(text));
        assert!(known("") && !known("cpu_weight = 5"));
        let file = directory.path().join(path(&web));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "[Service]\nCPUWeight=5\n").unwrap();
        assert!(known("cpu_weight = 5"));
        assert!(!known("cpu_weight = 6") && !known("cpu_weight = 5\nio_weight = 5") && !known(""));
    }
}
