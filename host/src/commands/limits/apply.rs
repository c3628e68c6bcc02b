//! Changes the limits of a guest that runs: all of them, or none.

use std::fs;
use std::io;

use rustix::process::Pid;
use shared::name::GuestName;

use crate::cgroup::{self, Before, GuestCgroup, Setting};
use crate::commands::output;
use crate::config::GuestConfig;
use crate::control::Snapshot;
use crate::error::{Error, Result};
use crate::launch::{self, Had};
use crate::plan::Limits;
use crate::plan::limits::{Lowered, OTHER_PROCESSORS, Use, complete, fewer_processors, lowered};

use super::level::Level;
use super::mebibytes;

/// A guest that runs.
pub(super) struct Running<'g> {
    name: &'g GuestName,
    cgroup: &'g GuestCgroup,
    boot: u32,
    init: Option<Pid>,
    /// Is a limit on open files configured?
    limits_files: bool,
    level: Level,
}

/// What has been changed, and how it was before.
#[derive(Debug, Default)]
pub(super) struct Changed {
    files: Vec<Before>,
    processes: Vec<Had>,
    level: Option<(Level, Option<i32>)>,
}

impl Changed {
    /// Sets all of it back.
    pub(super) fn undo(&mut self) {
        launch::give_back(std::mem::take(&mut self.processes));
        if let Some((level, before)) = self.level.take()
            && let Err(error) = level.note(before)
        {
            tracing::error!("cannot note the level before: {error}");
        }
        cgroup::restore(std::mem::take(&mut self.files));
    }
}

impl<'g> Running<'g> {
    pub(super) fn new(
        name: &'g GuestName,
        cgroup: &'g GuestCgroup,
        status: &Snapshot,
        config: &GuestConfig,
        level: Level,
    ) -> Self {
        let limits_files = config.limits.files.is_some();
        let (boot, init) = (status.boot, Pid::from_raw(status.init_pid));
        Self { name, cgroup, boot, init, limits_files, level }
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.cgroup.limited(self.boot).join(file)).ok()
    }

    /// Fails when a limit is to be below what is used, and isn't now.
    ///
    /// # Errors
    /// Which, with the numbers.
    pub(super) fn refuse_too_low(&self, limits: &Limits) -> Result<()> {
        let is_new = |setting: &&Setting| {
            self.read(setting.file).is_some_and(|now| now.trim() != setting.value)
        };
        let used = Use::read(|file| self.read(file));
        let low = lowered(limits.settings.iter().filter(is_new), &used);
        let Some(Lowered { key, limit, used }) = low.first() else { return Ok(()) };
        let name = self.name;
        let (text, hint) = match *key {
            "processes" => (
                format!("has {used} processes and threads now, more than {limit}"),
                "it could start no more; stop some, or lower the limit all the same: --force",
            ),
            _ => (
                format!(
                    "uses {} of {key} now that can't be dropped, more than {}",
                    mebibytes(*used),
                    mebibytes(*limit)
                ),
                "stop what uses it, or lower the limit all the same, and let the kernel kill: --force",
            ),
        };
        Err(Error::new(format!("guest '{name}' {text}")).hint(hint))
    }

    /// Gives it these limits.
    ///
    /// # Errors
    /// The first that can't be set; then all are as they were.
    pub(super) fn change(&self, limits: &Limits) -> Result<Changed> {
        let mut changed = Changed::default();
        match self.change_all(limits, &mut changed) {
            Ok(()) => Ok(changed),
            Err(error) => {
                changed.undo();
                Err(error)
            }
        }
    }

    fn change_all(&self, limits: &Limits, changed: &mut Changed) -> Result<()> {
        let cannot = |key: &str, value: &str, error: io::Error| {
            let name = self.name;
            let hint = match error.raw_os_error() {
                Some(libc::ENXIO) => format!("nothing was changed; {OTHER_PROCESSORS}"),
                Some(libc::ENOENT) => {
                    "nothing was changed; this kernel has no such limit ('vserver doctor')".into()
                }
                _ => "nothing was changed".to_owned(),
            };
            Error::os(format_args!("cannot set limits.{key} of guest '{name}' to '{value}'"), error)
                .hint(hint)
        };
        let traffic = self.read("io.max").unwrap_or_default();
        for setting in complete(&limits.settings, &traffic) {
            let before = self.cgroup.change(self.boot, &setting);
            changed
                .files
                .extend(before.map_err(|error| cannot(setting.key, &setting.value, error))?);
            match self.cgroup.left(self.boot, &setting) {
                cgroup::Left::All => {}
                cgroup::Left::None if limits.required => {
                    let none = io::Error::from_raw_os_error(libc::ENXIO);
                    return Err(cannot(setting.key, &setting.value, none));
                }
                cgroup::Left::Some | cgroup::Left::None => output::warn(fewer_processors(&setting)),
            }
        }
        let Some(init) = self.init else { return Ok(()) };
        let (process, _) = match launch::limits_of(init) {
            // It has ended meanwhile; the next boot begins with these limits.
            Err(error) if is_gone(&error) => return Ok(()),
            found => found.map_err(|error| cannot("nice", "", error))?,
        };
        let (given, wanted) = (self.level.given(), i32::from(limits.nice.unwrap_or(0)));
        if given != Some(wanted) {
            let cannot = |error| cannot("nice", &wanted.to_string(), error);
            let had = launch::shift_nice(&self.ids("cgroup.threads"), given, wanted);
            changed.processes.extend(had.map_err(cannot)?);
            self.level.note(Some(wanted)).map_err(cannot)?;
            changed.level = Some((self.level.clone(), given));
        }
        let (now, wanted) = (process.files(), limits.process.files());
        if let (Some((_, Some(now))), Some((_, Some(wanted)))) = (now, wanted) {
            // The host may be unable to give what is usual.
            let wanted = if self.limits_files { wanted } else { wanted.min(self.usual()) };
            if now != wanted {
                let had = launch::limit_files(&self.ids("cgroup.procs"), now, wanted);
                let had = had.map_err(|error| {
                    // prlimit(2).
                    cannot("files", &wanted.to_string(), error).hint(format!(
                        "nothing was changed; without CAP_SYS_RESOURCE only a restart gives a \
                         guest other limits of this kind: vserver config set {} limits.files \
                         {wanted}",
                        self.name
                    ))
                })?;
                changed.processes.extend(had);
            }
        }
        Ok(())
    }

    fn ids(&self, file: &str) -> std::collections::BTreeSet<i32> {
        let mut all = cgroup::ids(&self.cgroup.limited(self.boot), file);
        all.extend(cgroup::ids(&self.cgroup.session(), file));
        all
    }

    /// The most open files that this process may give another one.
    fn usual(&self) -> u64 {
        crate::facts::resources([]).own_files.unwrap_or(u64::MAX)
    }
}

/// Is there no such process any more?
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}
