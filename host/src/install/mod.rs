//! Puts files of this program's own into the host's directories, and takes
//! them away again: all of them or none.
//!
//! What was put there stands in a list beside it, one path a line. A file
//! that is in the way and not in that list is somebody else's: nothing is
//! done then.

mod exchange;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

use exchange::Exchange;

/// The list, below the prefix.
const LIST: &str = "share/vserver/installed";

/// Something to be put somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where, below the prefix.
    pub path: PathBuf,
    /// What.
    pub content: Content,
}

/// What is put somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file that everybody may read.
    Text(String),
    /// A program.
    Program(Vec<u8>),
    /// A program with CAP_SETPCAP as file capability, effective at once.
    Privileged(Vec<u8>),
    /// A symbolic link.
    Link(PathBuf),
}

/// What would be, or was, done to one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Install,
    Replace,
    Remove,
}

/// What an installation or removal comes to.
#[derive(Debug)]
pub struct Plan {
    prefix: PathBuf,
    items: Vec<Item>,
    changes: Vec<(PathBuf, Change)>,
    /// The new list; `None` when nothing is to be left.
    list: Option<String>,
}

impl Plan {
    /// Compares `items` with what is there. What an earlier version put there
    /// and this one doesn't have is removed.
    ///
    /// # Errors
    /// When somebody else's files are in the way; all of them are named.
    pub fn install(prefix: &Path, items: Vec<Item>) -> Result<Self> {
        let ours = listed(prefix)?;
        let (mut changes, mut foreign) = (Vec::new(), Vec::new());
        for item in &items {
            let path = prefix.join(&item.path);
            if path.symlink_metadata().is_err() {
                changes.push((item.path.clone(), Change::Install));
            } else if ours.contains(&item.path) || exchange::is_same(&path, &item.content) {
                changes.push((item.path.clone(), Change::Replace));
            } else {
                foreign.push(format!("'{}'", path.display()));
            }
        }
        if !foreign.is_empty() {
            return Err(Error::new(format!("{} would be overwritten", foreign.join(", ")))
                .hint("'vserver install' has not put that there; move it away first"));
        }
        let wanted: BTreeSet<&PathBuf> = items.iter().map(|item| &item.path).collect();
        let gone = ours.iter().filter(|path| !wanted.contains(path));
        changes.extend(gone.map(|path| (path.clone(), Change::Remove)));
        let list = wanted.iter().fold(String::new(), |mut list, path| {
            let _ = writeln!(list, "{}", path.display());
            list
        });
        Ok(Self { prefix: prefix.to_owned(), items, changes, list: Some(list) })
    }

    /// Everything that is listed as installed.
    ///
    /// # Errors
    /// When nothing is.
    pub fn remove(prefix: &Path) -> Result<Self> {
        let ours = listed(prefix)?;
        if ours.is_empty() {
            let text = format!("nothing is installed below '{}'", prefix.display());
            return Err(Error::new(text).hint("'--prefix' says where to look"));
        }
        let changes = ours.into_iter().map(|path| (path, Change::Remove)).collect();
        Ok(Self { prefix: prefix.to_owned(), items: Vec::new(), changes, list: None })
    }

    /// For a package, which has a list of its own.
    #[must_use]
    pub fn unlisted(mut self) -> Self {
        self.list = None;
        self
    }

    /// A line for each path.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (path, change) in &self.changes {
            let word = match change {
                Change::Install => "install",
                Change::Replace => "replace",
                Change::Remove => "remove",
            };
            let path = self.prefix.join(path);
            let _ = match self.items.iter().find(|item| self.prefix.join(&item.path) == path) {
                Some(Item { content: Content::Link(target), .. }) => {
                    writeln!(text, "{word:<8}{} -> {}", path.display(), target.display())
                }
                Some(Item { content: Content::Privileged(_), .. }) => {
                    writeln!(text, "{word:<8}{} cap_setpcap=ep", path.display())
                }
                _ => writeln!(text, "{word:<8}{}", path.display()),
            };
        }
        text
    }

    /// Does it.
    ///
    /// # Errors
    /// Says what failed, or that it was interrupted; then everything is as it was.
    pub fn carry_out(self, interrupt: &Interrupt) -> Result<()> {
        let mut exchange = Exchange::default();
        for item in &self.items {
            exchange.prepare(&self.prefix.join(&item.path), &item.content)?;
        }
        let list = self.prefix.join(LIST);
        if let Some(text) = self.list {
            exchange.prepare(&list, &Content::Text(text))?;
        }
        for (path, change) in &self.changes {
            if *change == Change::Remove {
                exchange.remove(&self.prefix.join(path))?;
            }
        }
        if self.items.is_empty() {
            exchange.remove(&list)?;
        }
        exchange.commit(interrupt)?;
        if self.items.is_empty() {
            // Directories that others may use stay, also empty ones.
            let _ = list.parent().map(fs::remove_dir);
        }
        Ok(())
    }
}

/// What an earlier call has put below this prefix.
fn listed(prefix: &Path) -> Result<BTreeSet<PathBuf>> {
    let path = prefix.join(LIST);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::path("read", &path, error)),
    };
    let paths: BTreeSet<PathBuf> = text.lines().map(PathBuf::from).collect();
    let is_plain = |path: &PathBuf| {
        path.components().all(|part| matches!(part, Component::Normal(_)))
            && !path.as_os_str().is_empty()
    };
    match paths.iter().find(|path| !is_plain(path)) {
        Some(strange) => {
            let text = format!("'{}' lists '{}'", path.display(), strange.display());
            Err(Error::new(text).hint("it holds paths below the prefix, and is written by vserver"))
        }
        None => Ok(paths),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn text(path: &str, text: &str) -> Item {
        Item { path: path.into(), content: Content::Text(text.into()) }
    }

    fn link(path: &str, target: &str) -> Item {
        Item { path: path.into(), content: Content::Link(target.into()) }
    }

    /// Every path below a directory but directories.
    fn files(directory: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![directory.to_owned()];
        while let Some(next) = left.pop() {
            for entry in fs::read_dir(next).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => left.push(entry.path()),
                    false => found
                        .push(entry.path().strip_prefix(directory).unwrap().display().to_string()),
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn an_upgrade_replaces_its_own_and_removes_what_is_gone() {
        let place = tempfile::tempdir().unwrap();
        let prefix = place.path();
        let first = vec![text("man/a.8", "1"), link("bin/x", "v"), text("old/b", "1")];
        Plan::install(prefix, first).unwrap().carry_out(&Interrupt::default()).unwrap();
        assert_eq!(files(prefix), ["bin/x", "man/a.8", "old/b", LIST]);
        let second = vec![text("man/a.8", "2"), link("bin/x", "w")];
        let plan = Plan::install(prefix, second).unwrap();
        assert!(plan.describe().contains("remove  "), "{}", plan.describe());
        plan.carry_out(&Interrupt::default()).unwrap();
        assert_eq!(files(prefix), ["bin/x", "man/a.8", LIST]);
        assert_eq!(fs::read_to_string(prefix.join("man/a.8")).unwrap(), "2");
        assert_eq!(fs::read_link(prefix.join("bin/x")).unwrap(), Path::new("w"));
        Plan::remove(prefix).unwrap().carry_out(&Interrupt::default()).unwrap();
        assert_eq!(files(prefix), [""; 0]);
        assert!(prefix.join("bin").is_dir() && !prefix.join(LIST).parent().unwrap().exists());
        assert!(Plan::remove(prefix).is_err());
    }

    #[test]
    fn files_of_others_are_left_alone_and_named() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("bin")).unwrap();
        fs::write(place.path().join("bin/x"), "theirs").unwrap();
        let items = vec![text("man/a.8", "1"), link("bin/x", "v")];
        let error = Plan::install(place.path(), items).unwrap_err();
        assert!(error.to_string().contains("bin/x' would be overwritten"), "{error}");
        assert_eq!(files(place.path()), ["bin/x"]);
    }

    #[test]
    fn a_failure_leaves_everything_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let prefix = place.path();
        Plan::install(prefix, vec![text("a", "1")])
            .unwrap()
            .carry_out(&Interrupt::default())
            .unwrap();
        let plan =
            Plan::install(prefix, vec![text("a", "2"), text("new/b", "2"), text("x/c", "2")]);
        let plan = plan.unwrap();
        fs::write(prefix.join("x"), "a file where a directory is wanted").unwrap();
        assert!(plan.carry_out(&Interrupt::default()).is_err());
        assert_eq!(files(prefix), ["a", LIST, "x"]);
        assert!(!prefix.join("new").exists());
        assert_eq!(fs::read_to_string(prefix.join("a")).unwrap(), "1");
    }

    #[test]
    fn one_that_is_called_off_leaves_everything_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let prefix = place.path();
        let go_on = Interrupt::default();
        Plan::install(prefix, vec![text("a", "1"), text("b", "1")])
            .unwrap()
            .carry_out(&go_on)
            .unwrap();
        let stop = Interrupt::asked_after(Duration::ZERO);
        while !stop.is_asked() {
            thread::yield_now();
        }
        let plan = Plan::install(prefix, vec![text("a", "2"), text("new/c", "2")]).unwrap();
        assert_eq!(plan.carry_out(&stop).unwrap_err().to_string(), "interrupted");
        assert_eq!(files(prefix), ["a", "b", LIST]);
        assert!(!prefix.join("new").exists());
        assert_eq!(fs::read_to_string(prefix.join("a")).unwrap(), "1");
    }

    #[test]
    fn what_is_replaced_is_there_at_any_moment() {
        let place = tempfile::tempdir().unwrap();
        let prefix = place.path();
        let go_on = Interrupt::default();
        let install = |say: &str| {
            let plan = Plan::install(prefix, vec![text("a", say), link("b", say)]).unwrap();
            plan.carry_out(&go_on).unwrap();
        };
        install("0");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let looks = scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    assert!(fs::read(prefix.join("a")).is_ok_and(|text| !text.is_empty()));
                    assert!(fs::read_link(prefix.join("b")).is_ok());
                }
            });
            (1..50).for_each(|round| install(&round.to_string()));
            ended.store(true, Ordering::Relaxed);
            looks.join().unwrap();
        });
        assert_eq!(files(prefix), ["a", "b", LIST], "and no other name of it is left");
    }

    #[test]
    fn a_list_that_leads_elsewhere_is_refused() {
        let place = tempfile::tempdir().unwrap();
        for line in ["/etc/passwd", "../x", "a/../../x", ""] {
            fs::create_dir_all(place.path().join("share/vserver")).unwrap();
            fs::write(place.path().join(LIST), format!("{line}\n")).unwrap();
            assert!(Plan::remove(place.path()).is_err(), "{line:?} was taken");
        }
    }
}
