//! Where a guest's account is kept: three files in `/var/lib/vserver/usage`.
//!
//! `NAME.json` is the ledger, replaced as a whole (rename(2)); whatever it
//! says is true. Within an hour the disk isn't waited for, or guests that
//! write much would hold up all supervisors: after a power failure it may be
//! empty, and then the one before counts, `NAME.json.old`. `NAME.history` has
//! a line for every hour that is over. A closed hour stays in the ledger until
//! it is known to be in the history, and a line that is there twice counts
//! once, so that no moment of a crash loses an hour or doubles it. Plain text
//! needs no other program to be read, and no database has to be opened in
//! every supervisor for a line an hour.
//!
//! While the disk is full the ledger is kept in `/run`, which is another file
//! system on most hosts, and whoever opens it next goes on with that one.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use shared::name::GuestName;

use super::ledger::{Hour, Ledger};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::store;

/// Hours that are kept: more than a year, so that a year can be billed.
const KEPT: usize = 400 * 24;

/// Bytes of a history that is long enough to be cut to [`KEPT`] lines; a line
/// has about 250.
const LONG: u64 = 4 << 20;

/// The files of one guest's account.
#[derive(Clone, Debug)]
pub struct Book {
    ledger: PathBuf,
    before: PathBuf,
    aside: PathBuf,
    history: PathBuf,
}

/// Where a ledger has been kept.
#[derive(Debug)]
pub enum Kept {
    /// Where it belongs.
    Home,
    /// In `/run`, and why.
    Aside(Error),
}

impl Book {
    /// Those of this guest; nothing is made yet.
    pub fn new(paths: &Paths, name: &GuestName) -> Self {
        let directory = paths.usage_dir();
        Self {
            ledger: directory.join(format!("{name}.json")),
            before: directory.join(format!("{name}.json.old")),
            aside: paths.usage_aside(name),
            history: directory.join(format!("{name}.history")),
        }
    }

    /// All of them, as far as they are there.
    pub fn files(&self) -> [PathBuf; 4] {
        [self.history.clone(), self.before.clone(), self.ledger.clone(), self.aside.clone()]
    }

    /// Reads the ledger; if there is none, one that goes on after the history.
    ///
    /// # Errors
    /// When it can't be read. It is not begun anew then: what was counted
    /// would be lost.
    pub fn read(&self) -> Result<Ledger> {
        let aside = fs::read_to_string(&self.aside).ok();
        let aside = aside.and_then(|text| serde_json::from_str::<Ledger>(&text).ok());
        match (self.read_home(), aside) {
            (Ok(home), Some(aside)) if aside.is_later_than(&home) => Ok(aside),
            (home, _) => home,
        }
    }

    fn read_home(&self) -> Result<Ledger> {
        let text = match fs::read_to_string(&self.ledger) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Ledger::after(&self.history()?));
            }
            Err(error) => return Err(Error::path("read", &self.ledger, error)),
        };
        let before = || serde_json::from_str(&fs::read_to_string(&self.before).ok()?).ok();
        serde_json::from_str(&text).or_else(|error| {
            before().ok_or_else(|| {
                let path = self.ledger.display();
                Error::new(format!("'{path}' is no account: {error}"))
                    .hint("set it aside, and a new one goes on after its history")
            })
        })
    }

    /// Keeps the ledger, and hours that are over: where they belong, or the
    /// whole ledger aside.
    ///
    /// # Errors
    /// When a file can't be written; then the old ones are as they were, or
    /// the hour is written the next time.
    pub fn write(&self, ledger: &mut Ledger) -> Result<Kept> {
        match self.write_home(ledger) {
            Ok(()) => {
                let _ = fs::remove_file(&self.aside);
                Ok(Kept::Home)
            }
            Err(error) => match store::replace_unsynced(&self.aside, &text(ledger), 0o600) {
                Ok(()) => Ok(Kept::Aside(error)),
                Err(_) => Err(error),
            },
        }
    }

    fn write_home(&self, ledger: &mut Ledger) -> Result<()> {
        let _ = fs::remove_file(&self.before);
        let _ = fs::hard_link(&self.ledger, &self.before);
        match ledger.closed.is_empty() {
            true => store::replace_unsynced(&self.ledger, &text(ledger), 0o600)?,
            false => store::replace(&self.ledger, &text(ledger), 0o600)?,
        }
        for hour in &ledger.closed {
            self.append(hour).map_err(|error| Error::path("write", &self.history, error))?;
        }
        ledger.closed.clear();
        Ok(())
    }

    /// All hours that are known, the present one last. Lines that a crash cut
    /// short are left out: their hours are in the ledger.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn hours(&self) -> Result<Vec<Hour>> {
        let ledger = self.read()?;
        let mut hours = self.history()?;
        hours.extend(ledger.closed);
        hours.extend((ledger.hour.number > 0).then_some(ledger.hour));
        Ok(hours)
    }

    fn history(&self) -> Result<Vec<Hour>> {
        match fs::read_to_string(&self.history) {
            Ok(text) => Ok(parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::path("read", &self.history, error)),
        }
    }

    fn append(&self, hour: &Hour) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(&self.history)?;
        if file.metadata()?.len() > LONG {
            let lines = parse(&fs::read_to_string(&self.history)?);
            let kept: String =
                lines.iter().skip(lines.len().saturating_sub(KEPT)).map(text).collect();
            store::replace(&self.history, &kept, 0o600)
                .map_err(|error| io::Error::other(error.to_string()))?;
            file = options.open(&self.history)?;
        }
        // A newline first: the last line may have been cut short.
        file.write_all(format!("\n{}", text(hour).trim_end()).as_bytes())?;
        file.sync_data()
    }
}

/// Guests that have an account, of those that are gone as well.
///
/// # Errors
/// When the directory can't be read.
pub fn names(paths: &Paths) -> Result<Vec<GuestName>> {
    let directory = paths.usage_dir();
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::path("read", &directory, error)),
    };
    let name = |entry: fs::DirEntry| {
        entry.file_name().to_str()?.strip_suffix(".json")?.parse::<GuestName>().ok()
    };
    let mut names: Vec<_> = entries.flatten().filter_map(name).collect();
    names.sort();
    Ok(names)
}

fn parse(text: &str) -> Vec<Hour> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// One line.
fn text(value: &impl serde::Serialize) -> String {
    // Numbers and strings: nothing here can fail.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Counters, HOUR, Sample, sum};
    use super::*;

    fn sample(user_us: u64) -> Sample {
        let counters = Counters { user_us, ..Counters::default() };
        let taken_ms = user_us;
        Sample { source: "a".into(), began_ms: 0, taken_ms, counters, memory: 0, is_boot: true }
    }

    /// Works for some hours, and is read back after a crash at every byte
    /// that is written.
    #[test]
    fn no_crash_loses_or_doubles_an_hour() {
        let prefix = tempfile::tempdir().unwrap();
        let book = Book::new(&Paths::new(prefix.path()), &"web".parse().unwrap());
        let mut ledger = book.read().unwrap();
        for hour in 0..5 {
            ledger.take(hour * HOUR, sample(10 * (hour + 1)));
            book.write(&mut ledger).unwrap();
        }
        assert_eq!(sum(book.hours().unwrap(), 0, u64::MAX), ledger.total);

        // The next hour: the ledger is replaced, the line is cut short.
        ledger.take(5 * HOUR, sample(100));
        let before = fs::read_to_string(&book.history).unwrap();
        book.write(&mut ledger.clone()).unwrap();
        let after = fs::read_to_string(&book.history).unwrap();
        assert!(after.len() > before.len() + 50);
        for length in before.len()..=after.len() {
            fs::write(&book.history, &after[..length]).unwrap();
            let mut again = book.read().unwrap();
            assert_eq!(sum(book.hours().unwrap(), 0, u64::MAX), ledger.total, "{length}");
            // And goes on.
            again.take(5 * HOUR, sample(110));
            book.write(&mut again).unwrap();
            assert_eq!(again.total.counters.user_us, 110);
            assert_eq!(sum(book.hours().unwrap(), 0, u64::MAX), again.total, "{length}");
            store::replace(&book.ledger, &text(&ledger), 0o600).unwrap();
        }
    }

    #[test]
    fn a_spoilt_account_is_not_begun_anew() {
        let prefix = tempfile::tempdir().unwrap();
        let paths = Paths::new(prefix.path());
        let book = Book::new(&paths, &"web".parse().unwrap());
        fs::create_dir_all(paths.usage_dir()).unwrap();
        fs::write(&book.ledger, "{").unwrap();
        assert!(book.read().unwrap_err().to_string().contains("is no account"));
        assert_eq!(names(&paths).unwrap(), ["web".parse().unwrap()]);
    }

    #[test]
    fn one_that_was_emptied_or_set_aside_goes_on() {
        let prefix = tempfile::tempdir().unwrap();
        let book = Book::new(&Paths::new(prefix.path()), &"web".parse().unwrap());
        let mut ledger = book.read().unwrap();
        for hour in 0..4 {
            ledger.take(hour * HOUR, sample(10 * (hour + 1)));
            book.write(&mut ledger).unwrap();
        }
        // A power failure: what was written last never reached the disk.
        fs::write(&book.ledger, "").unwrap();
        assert_eq!(book.read().unwrap().total.counters.user_us, 30);
        // Set aside: the hours that are over are known still.
        fs::remove_file(&book.ledger).unwrap();
        let mut again = book.read().unwrap();
        assert_eq!(again.total.counters.user_us, 30);
        again.take(9 * HOUR, Sample { source: "b".into(), ..sample(5) });
        book.write(&mut again).unwrap();
        assert_eq!(again.total.counters.user_us, 35);
        assert_eq!(sum(book.hours().unwrap(), 0, u64::MAX), again.total);
    }

    #[test]
    fn what_has_no_room_is_kept_aside() {
        let prefix = tempfile::tempdir().unwrap();
        let paths = Paths::new(prefix.path());
        let book = Book::new(&paths, &"web".parse().unwrap());
        let mut ledger = book.read().unwrap();
        let take = |ledger: &mut Ledger, hour| {
            ledger.take(hour * HOUR, sample(10 * (hour + 1)));
            book.write(ledger)
        };
        assert!(matches!(take(&mut ledger, 0), Ok(Kept::Home)));
        // Something that can't be replaced by a file is where they belong.
        let away = paths.state_dir().join("away");
        fs::rename(paths.usage_dir(), &away).unwrap();
        fs::write(paths.usage_dir(), "").unwrap();
        let run = paths.run_dir();
        fs::create_dir_all(run.parent().unwrap()).unwrap();
        fs::write(&run, "").unwrap();
        assert!(take(&mut ledger, 1).is_err(), "there is no other room either");
        fs::remove_file(&run).unwrap();
        assert!(matches!(take(&mut ledger, 2), Ok(Kept::Aside(_))));
        fs::remove_file(paths.usage_dir()).unwrap();
        fs::rename(&away, paths.usage_dir()).unwrap();
        // Whoever comes next, after the process that has counted, goes on with it.
        let mut again = book.read().unwrap();
        assert_eq!(again, ledger);
        assert_eq!(sum(book.hours().unwrap(), 0, u64::MAX).counters.user_us, 30);
        assert!(matches!(take(&mut again, 3), Ok(Kept::Home)));
        assert!(!book.aside.exists());
        // One that was left there by a crash counts no longer.
        fs::write(&book.aside, text(&ledger)).unwrap();
        assert_eq!(book.read().unwrap().total, again.total);
        assert_eq!(sum(book.hours().unwrap(), 0, u64::MAX), again.total);
    }

    #[test]
    fn a_long_history_is_cut() {
        let prefix = tempfile::tempdir().unwrap();
        let book = Book::new(&Paths::new(prefix.path()), &"web".parse().unwrap());
        fs::create_dir_all(book.history.parent().unwrap()).unwrap();
        let hours = (1..=30_000).map(|number| Hour { number, ..Hour::default() });
        let lines: String = hours.map(|hour| text(&hour)).collect();
        fs::write(&book.history, lines).unwrap();
        book.append(&Hour { number: 30_001, ..Hour::default() }).unwrap();
        let left = parse(&fs::read_to_string(&book.history).unwrap());
        assert_eq!((left.len(), left.last().unwrap().number), (KEPT + 1, 30_001));
        assert_eq!(left[0].number, 30_001 - KEPT as u64);
    }
}
