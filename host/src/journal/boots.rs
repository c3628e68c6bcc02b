//! `NAME.boots` beside a guest's logs: where the console of each of its last
//! boots is to be found. It is written by the host alone: what the guest
//! prints can't look like the beginning of a boot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use shared::name::GuestName;

use super::identity;

/// So many boots are remembered.
const KEPT: usize = 64;

/// A boot, as it was when it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The guest's name then; it may have another one since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<GuestName>,
    /// When the guest's first boot of all began, on the same clock: what the journal has of
    /// its name before that is another guest's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<u64>,
    /// The host's boot, as the journal writes it (`_BOOT_ID`).
    pub host_boot: String,
    /// Pid of the keeper, which writes the console.
    pub keeper: u32,
    /// Those of keepers that took the place of one that was killed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later_keepers: Vec<u32>,
    /// Does the supervisor write to the journal?
    pub supervisor_in_journal: bool,
    /// Does the console go to the journal?
    pub console_in_journal: bool,
    /// Where in which file the console goes on, if it goes to one.
    pub file: Option<File>,
}

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its inode, and when that was made; nothing if there was no file yet.
    pub identity: Option<(u64, Option<u64>)>,
    /// Bytes in it.
    pub size: u64,
}

/// A guest's last boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boots(Vec<Boot>);

impl Boots {
    /// What is known; nothing at worst.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        Self(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// The boot before the last one by so many.
    pub fn back(&self, count: usize) -> Option<&Boot> {
        self.0.iter().rev().nth(count)
    }

    /// When the first boot of all began; a later one, if the host's clock was set
    /// back before that.
    pub fn first_ms(&self) -> Option<u64> {
        self.0.iter().flat_map(|boot| [boot.first_ms, Some(boot.at_ms)]).flatten().min()
    }

    /// All boots that the guest ever had, as long as none is forgotten.
    pub fn all(&self) -> Option<&[Boot]> {
        let first = self.0.first()?;
        (first.first_ms == Some(first.at_ms)).then_some(&self.0)
    }

    /// Those that the guest had under other names than this one, with these.
    pub fn under_other_names<'a>(
        &'a self,
        name: &'a GuestName,
    ) -> impl Iterator<Item = (&'a GuestName, &'a Boot)> {
        let named = self.0.iter().filter_map(|boot| Some((boot.name.as_ref()?, boot)));
        named.filter(move |(other, _)| *other != name)
    }

    /// Notes another boot.
    ///
    /// # Errors
    /// Those of open(2), write(2) and rename(2).
    pub fn note(path: &Path, boot: Boot) -> io::Result<()> {
        let mut boots = Self::read(path);
        let first_ms = boots.first_ms().or(Some(boot.at_ms));
        boots.0.push(Boot { first_ms, ..boot });
        boots.write(path)
    }

    /// Notes another keeper of the last boot.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub fn note_keeper(path: &Path, pid: u32) -> io::Result<()> {
        let mut boots = Self::read(path);
        let last = boots.0.last_mut().ok_or(io::ErrorKind::NotFound)?;
        last.later_keepers.push(pid);
        let too_many = last.later_keepers.len().saturating_sub(KEPT);
        last.later_keepers.drain(..too_many);
        boots.write(path)
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let boots = &self.0;
        let mut text = String::new();
        for boot in boots.iter().skip(boots.len().saturating_sub(KEPT)) {
            text += &serde_json::to_string(boot)?;
            text.push('\n');
        }
        let temporary = path.with_extension("boots.new");
        let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
        // Half a file takes room where there is none.
        written.inspect_err(|_| drop(fs::remove_file(&temporary)))
    }
}

impl Boot {
    /// The boot of this process's guest, which begins now.
    pub fn now(name: &GuestName, supervisor: bool, console: bool, file: Option<File>) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let host = crate::sys::host_boot().unwrap_or_default();
        Self {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(0),
            name: Some(name.clone()),
            first_ms: None,
            host_boot: host.replace('-', ""),
            keeper: std::process::id(),
            later_keepers: Vec::new(),
            supervisor_in_journal: supervisor,
            console_in_journal: console,
            file,
        }
    }

    /// The pids of all its keepers.
    pub fn keepers(&self) -> impl Iterator<Item = u32> {
        [self.keeper].into_iter().chain(self.later_keepers.iter().copied())
    }
}

impl File {
    /// The end of a log as it is now.
    pub fn end_of(log: &Path) -> Self {
        match fs::metadata(log) {
            Ok(meta) => Self { identity: Some(identity(&meta)), size: meta.len() },
            Err(_) => Self { identity: None, size: 0 },
        }
    }

    /// Where this is in the text of these logs, oldest first, one after
    /// another. A place in none of them has been rotated away, or is in the
    /// first log that there ever was: nothing is lost before `0` there.
    pub fn place_in(&self, logs: &[PathBuf]) -> Option<usize> {
        let mut before = 0;
        for log in logs {
            let Ok(meta) = fs::metadata(log) else { continue };
            if self.identity == Some(identity(&meta)) {
                return usize::try_from(before + self.size.min(meta.len())).ok();
            }
            before += meta.len();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_boots_are_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.boots");
        assert_eq!(Boots::read(&path), Boots::default());
        for number in 0..70 {
            let name = if number < 68 { "web" } else { "shop" }.parse().unwrap();
            let at_ms = 1000 + u64::from(number);
            let boot = Boot { keeper: number, at_ms, ..Boot::now(&name, false, true, None) };
            Boots::note(&path, boot).unwrap();
        }
        let boots = Boots::read(&path);
        assert_eq!(boots.back(0).unwrap().keeper, 69);
        Boots::note_keeper(&path, 100).unwrap();
        assert_eq!(Boots::read(&path).back(0).unwrap().later_keepers, [100]);
        assert_eq!(Boots::read(&path).back(1), boots.back(1));
        assert_eq!(boots.back(1).unwrap().keeper, 68);
        assert_eq!(boots.back(63).unwrap().keeper, 6);
        assert_eq!(boots.back(64), None);
        assert_eq!(boots.first_ms(), Some(1000), "also when that boot is forgotten");
        assert_eq!(boots.all(), None);
        let others = |name: &str| boots.under_other_names(&name.parse().unwrap()).count();
        assert_eq!([others("web"), others("shop"), others("mail")], [2, 62, 64]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn all_boots_are_known_until_one_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.boots");
        let web = "web".parse().unwrap();
        for number in 0..u64::try_from(KEPT).unwrap() + 8 {
            // The clock is set back once, and goes on.
            let at_ms = if number < 10 { 1000 } else { 500 } + number;
            Boots::note(&path, Boot { at_ms, ..Boot::now(&web, true, true, None) }).unwrap();
            let boots = Boots::read(&path);
            let known = usize::try_from(number).unwrap() + 1;
            assert_eq!(boots.all().map(<[Boot]>::len), (known <= KEPT).then_some(known));
            assert_eq!(boots.first_ms(), Some(if number < 10 { 1000 } else { 510 }));
        }
    }

    #[test]
    fn what_an_earlier_version_has_noted_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.boots");
        let line = r#"{"at_ms":7,"host_boot":"a","keeper":3,"supervisor_in_journal":true,
            "console_in_journal":true,"file":null}"#;
        fs::write(&path, line.replace('\n', "")).unwrap();
        let web = "web".parse().unwrap();
        Boots::note(&path, Boot::now(&web, true, true, None)).unwrap();
        let boots = Boots::read(&path);
        assert_eq!((boots.first_ms(), boots.back(1).unwrap().keeper), (Some(7), 3));
        assert_eq!(boots.back(0).unwrap().first_ms, Some(7));
        assert_eq!(boots.all(), None, "there may have been others");
        assert_eq!(boots.under_other_names(&web).count(), 0);
    }

    #[test]
    fn a_place_is_found_again_after_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let (log, old) = (directory.path().join("web.log"), directory.path().join("web.log.1"));
        let logs = [old.clone(), log.clone()];
        let none = File::end_of(&log);
        fs::write(&log, "first boot\n").unwrap();
        let place = File::end_of(&log);
        fs::write(&log, "first boot\nsecond").unwrap();
        assert_eq!((none.place_in(&logs), place.place_in(&logs)), (None, Some(11)));
        fs::rename(&log, &old).unwrap();
        fs::write(&log, "more").unwrap();
        let later = File::end_of(&log);
        assert_eq!((place.place_in(&logs), later.place_in(&logs)), (Some(11), Some(17 + 4)));
        fs::rename(&log, &old).unwrap();
        assert_eq!((place.place_in(&logs), later.place_in(&logs)), (None, Some(4)));
    }
}
