//! Limits in the files of a guest's cgroups. What is written was decided
//! elsewhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::GuestCgroup;
use crate::config::limits::{CpuSet, Shares};

/// One limit, as the kernel takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the configuration's section `[limits]`.
    pub key: &'static str,
    /// The controller that enforces it.
    pub controller: &'static str,
    /// Which of the guest's cgroups it is set for.
    pub place: Place,
    /// The file there.
    pub file: &'static str,
    /// What is written to it.
    pub value: String,
    /// Is a kernel that has no such file a failure? Not with defaults.
    pub is_needed: bool,
}

/// Which of a guest's cgroups a limit is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one by which guests are weighed against each other.
    Weighed,
    /// The one that holds all of a boot.
    Limited,
    /// The one in that which holds what the guest itself has made, and not
    /// what sessions have beside it.
    Inside,
}

/// The processors of a cgroup: those that are wanted, and those that it has.
const PROCESSORS: &str = "cpuset.cpus";
const EFFECTIVE: &str = "cpuset.cpus.effective";

/// A line of a file as it was before a change.
#[derive(Clone, Debug)]
pub struct Before {
    path: PathBuf,
    line: String,
}

/// Undoes changes, the last one first.
pub fn restore(before: Vec<Before>) {
    for Before { path, line } in before.into_iter().rev() {
        if let Err(error) = write(&path, &line) {
            tracing::error!("cannot set '{}' back to '{line}': {error}", path.display());
        }
    }
}

/// An empty text is written as well: it means all processors.
fn write(path: &Path, text: &str) -> io::Result<()> {
    super::write(path, &format!("{text}\n"))
}

/// What of the processors that were asked for a cgroup can have. The kernel takes any
/// set, and goes by what the cgroups around it leave of that; by theirs, if that is
/// nothing (cgroup v2 kernel doc, `cpuset.cpus`, `cpuset.cpus.effective`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All.
    All,
    /// Some.
    Some,
    /// None, and so others.
    None,
}

/// What systemd makes of a weight for BFQ, which knows 1 to 1000.
fn for_bfq(weight: u16) -> u16 {
    if weight <= 100 { weight } else { 100 + (weight - 100) / 11 }
}

fn left(wanted: &str, effective: &str) -> Left {
    let set = |text: &str| text.trim().parse::<CpuSet>().ok();
    let (Some(wanted), Some(effective)) = (set(wanted), set(effective)) else { return Left::All };
    match effective.numbers() {
        effective if effective.is_superset(wanted.numbers()) => Left::All,
        effective if effective.is_disjoint(wanted.numbers()) => Left::None,
        _ => Left::Some,
    }
}

/// What a file says now of what is to be set: in `io.max`, each device has a
/// line; in others only the first is about all devices.
fn line_of(text: &str, setting: &Setting) -> String {
    if setting.file != "io.max" {
        return text.lines().next().unwrap_or_default().trim().to_owned();
    }
    let device = setting.value.split(' ').next().unwrap_or_default();
    let line = text.lines().find(|line| line.split(' ').next() == Some(device));
    line.map_or(format!("{device} rbps=max wbps=max riops=max wiops=max"), str::to_owned)
}

impl GuestCgroup {
    /// Sets a limit for boot number `boot`.
    ///
    /// # Errors
    /// Those of write(2); with a limit that isn't needed, none.
    pub fn limit(&self, boot: u32, setting: &Setting) -> io::Result<()> {
        if self.is_left_to_systemd(setting) {
            self.compare(boot, setting);
            return Ok(());
        }
        let set = || -> io::Result<()> {
            self.enable_for(boot, setting)?;
            write(&self.file(boot, setting), &setting.value)
        };
        match set() {
            Err(error) if !setting.is_needed => {
                tracing::warn!("limits.{} isn't enforced: {error}", setting.key);
                Ok(())
            }
            other => other,
        }
    }

    /// Sets a limit of a guest that runs, where it is another one. Returns
    /// what was there before, to be given to [`restore`].
    ///
    /// # Errors
    /// Those of read(2) and write(2). Then nothing has changed; also where the
    /// kernel has no such file, unless the limit is needed: that is none.
    pub fn change(&self, boot: u32, setting: &Setting) -> io::Result<Vec<Before>> {
        if self.is_left_to_systemd(setting) {
            return Ok(Vec::new());
        }
        let mut before = Vec::new();
        let mut set = || -> io::Result<()> {
            let path = self.file(boot, setting);
            if setting.is_needed && !path.exists() {
                self.enable_for(boot, setting)?;
            }
            let text = match fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !setting.is_needed => {
                    return Ok(());
                }
                other => other?,
            };
            let line = line_of(&text, setting);
            if line != setting.value {
                write(&path, &setting.value)?;
                before.push(Before { path, line });
            }
            Ok(())
        };
        match set() {
            Ok(()) => Ok(before),
            Err(error) => {
                restore(before);
                Err(error)
            }
        }
    }

    /// Is it a limit of the unit's own cgroup? systemd writes what it has been told
    /// (`systemd::shares`) when it starts the unit.
    fn is_left_to_systemd(&self, setting: &Setting) -> bool {
        setting.place == Place::Weighed && self.is_in_unit()
    }

    /// Gives its unit's cgroup these weights, as systemd does when it starts it; those that
    /// are `None` stay.
    ///
    /// # Errors
    /// Those of read(2) and write(2). Files that the kernel lacks are left out.
    pub fn weigh(&self, shares: Shares) -> io::Result<()> {
        let io = shares.io.map(|weight| format!("default {weight}"));
        let bfq = shares.io.map(|weight| format!("default {}", for_bfq(weight)));
        let cpu = shares.cpu.map(|weight| weight.to_string());
        for (file, value) in [("cpu.weight", cpu), ("io.weight", io), ("io.bfq.weight", bfq)] {
            let path = self.weighed().join(file);
            let Some(value) = value else { continue };
            match fs::read_to_string(&path) {
                Ok(now) if now.lines().next() == Some(&value) => {}
                Ok(_) => write(&path, &value)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says so if what systemd has set there is something else.
    fn compare(&self, boot: u32, setting: &Setting) {
        let text = fs::read_to_string(self.file(boot, setting)).unwrap_or_default();
        let now = line_of(&text, setting);
        // It has another scale for that of BFQ.
        if setting.file == "io.bfq.weight" || now.is_empty() || now == setting.value {
            return;
        }
        tracing::warn!(
            "limits.{} is to be '{}', and the guest's unit has '{now}', by 'systemctl \
             set-property' or until it is reloaded",
            setting.key,
            setting.value
        );
    }

    /// The file that a limit is written to.
    fn file(&self, boot: u32, setting: &Setting) -> PathBuf {
        let directory = match setting.place {
            Place::Weighed => self.weighed().to_owned(),
            Place::Limited => self.limited(boot),
            Place::Inside => self.inside(boot),
        };
        directory.join(setting.file)
    }

    /// Enables the controller down to where it is set; then also where
    /// sessions begin (see `lobby`).
    fn enable_for(&self, boot: u32, setting: &Setting) -> io::Result<()> {
        self.enable(setting.controller)?;
        if setting.place == Place::Inside {
            for branch in [self.limited(boot), self.session()] {
                let control = branch.join("cgroup.subtree_control");
                fs::write(control, format!("+{}", setting.controller))?;
            }
        }
        Ok(())
    }

    /// What of this limit's processors, which are set, the guest can have.
    pub fn left(&self, boot: u32, setting: &Setting) -> Left {
        if setting.file != PROCESSORS {
            return Left::All;
        }
        let file = self.file(boot, setting).with_file_name(EFFECTIVE);
        left(&setting.value, &fs::read_to_string(file).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_had_as_far_as_those_around_leave_them() {
        for (wanted, effective, expected) in [
            ("0-1", "0-1\n", Left::All),
            ("0-1", "0-3\n", Left::All),
            ("0-2", "0-1\n", Left::Some),
            ("2-3", "0-1\n", Left::None),
            // No limit; and a kernel that says nothing.
            ("", "0-1\n", Left::All),
            ("0", "", Left::All),
        ] {
            assert_eq!(left(wanted, effective), expected, "{wanted} {effective}");
        }
    }

    #[test]
    fn bfq_has_a_scale_of_its_own() {
        assert_eq!([1, 100, 111, 10_000].map(for_bfq), [1, 100, 101, 1000]);
    }

    #[test]
    fn a_file_that_the_kernel_lacks_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let error = write(&directory.path().join("memory.swap.max"), "0").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn each_device_has_a_line() {
        let setting = |file, value: &str| Setting {
            key: "io_max",
            controller: "io",
            place: Place::Limited,
            file,
            value: value.to_owned(),
            is_needed: true,
        };
        let text = "8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=2\n";
        assert_eq!(line_of(text, &setting("io.max", "8:16 rbps=5")), "8:16 rbps=2");
        let none = "8:32 rbps=max wbps=max riops=max wiops=max";
        assert_eq!(line_of(text, &setting("io.max", "8:32 rbps=5")), none);
        assert_eq!(line_of("default 100\n8:0 50\n", &setting("io.weight", "x")), "default 100");
        assert_eq!(line_of("", &setting("cpuset.cpus", "0")), "");
    }
}
