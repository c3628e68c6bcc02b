//! The nice level that a guest's processes were given. PID 1 is the guest's root's,
//! which may renice it: what that has now says nothing.

use std::fs;
use std::io;

use crate::config::parse::Document;
use crate::runtime::RunDir;

/// That of one boot.
#[derive(Clone, Debug)]
pub(super) struct Level {
    run: RunDir,
    boot: u32,
}

impl Level {
    pub(super) fn of(run: RunDir, boot: u32) -> Self {
        Self { run, boot }
    }

    /// What was given last: in this boot, or else at its start; `None` if neither is
    /// known any more.
    pub(super) fn given(&self) -> Option<i32> {
        let noted = fs::read_to_string(self.run.level()).ok();
        noted.and_then(|text| self.noted_in(&text)).or_else(|| self.at_start())
    }

    /// Notes that this one was given, or that none is known.
    ///
    /// # Errors
    /// Those of write(2) and unlink(2).
    pub(super) fn note(&self, level: Option<i32>) -> io::Result<()> {
        match level {
            Some(level) => fs::write(self.run.level(), format!("{} {level}\n", self.boot)),
            None => fs::remove_file(self.run.level()),
        }
    }

    /// One of another boot counts no more.
    fn noted_in(&self, text: &str) -> Option<i32> {
        let (boot, level) = text.trim().split_once(' ')?;
        (boot.parse() == Ok(self.boot)).then(|| level.parse().ok())?
    }

    fn at_start(&self) -> Option<i32> {
        let text = fs::read_to_string(self.run.configuration()).ok()?;
        let config = Document::read(&text).config_as_it_is(&Document::read("")).ok()?;
        Some(config.limits.nice.map_or(0, |nice| nice.get().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    #[test]
    fn what_was_given_last_in_this_boot_counts() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDir::new(&Paths::new(directory.path()), &"web".parse().unwrap());
        fs::create_dir_all(run.path()).unwrap();
        let level = Level::of(run.clone(), 3);
        assert_eq!(level.given(), None, "nothing is known");
        fs::write(run.configuration(), "context = 7\n").unwrap();
        assert_eq!(level.given(), Some(0));
        fs::write(run.configuration(), "limits.nice = -4\n").unwrap();
        assert_eq!(level.given(), Some(-4));
        level.note(Some(11)).unwrap();
        assert_eq!(level.given(), Some(11));
        assert_eq!(Level::of(run.clone(), 4).given(), Some(-4), "another boot");
        fs::write(run.level(), "nonsense").unwrap();
        assert_eq!(level.given(), Some(-4));
        level.note(None).unwrap();
        assert_eq!(level.given(), Some(-4));
    }
}
