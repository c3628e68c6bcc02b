//! Limits in the files of a guest's cgroups. What is written was decided
//! elsewhere.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::GuestCgroup;

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
    /// The outer one, by which guests are weighed against each other.
    Outer,
    /// The one that holds all of a boot; and the host's for sessions, which
    /// may have as much again: a full guest can be entered.
    Limited,
}

impl GuestCgroup {
    /// Sets a limit for boot number `boot`.
    ///
    /// # Errors
    /// Those of write(2); with a limit that isn't needed, none.
    pub fn limit(&self, boot: u32, setting: &Setting) -> io::Result<()> {
        let set = || -> io::Result<()> {
            self.enable(setting.controller)?;
            for path in self.files(boot, setting) {
                fs::write(path, &setting.value)?;
            }
            Ok(())
        };
        match set() {
            Err(error) if !setting.is_needed => {
                tracing::warn!("limits.{} isn't enforced: {error}", setting.key);
                Ok(())
            }
            other => other,
        }
    }

    /// The files that a limit is written to.
    pub fn files(&self, boot: u32, setting: &Setting) -> Vec<PathBuf> {
        let directories = match setting.place {
            Place::Outer => vec![self.outer().to_owned()],
            Place::Limited => vec![self.limited(boot), self.session()],
        };
        directories.into_iter().map(|directory| directory.join(setting.file)).collect()
    }
}
