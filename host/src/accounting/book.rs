//! Where a guest's account is kept: three files in `/var/lib/vserver/usage`.
//!
//! `NAME.json` is the ledger, replaced as a whole (rename(2)); whatever it
//! says is true. Within an hour it isn't waited for until the new one is on the
//! disk, or guests that write much would hold up all supervisors: after a power
//! failure it may be empty, and then an earlier one counts, `NAME.json.old`.
//! That one is on the disk before it gets this name, which after half a minute
//! takes no time, since the kernel has begun to write it at once; and it has
//! been made at most one [`INTERVAL`] ago, since there are two notes in each.
//! Where neither can be read, the account goes on from its history.
//! `NAME.history` has a line for every hour that is over. A closed hour stays in
//! the ledger until it is known to be in the history, and a line that is there
//! twice counts once, so that no moment of a crash loses an hour or doubles it.
//! Plain text needs no other program to be read, and no database has to be
//! opened in every supervisor for a line an hour.
//!
//! While the disk is full the ledger is kept in `/run`, which is another file
//! system on most hosts, and whoever opens it next goes on with that one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::name::GuestName;

use super::ledger::{Hour, Ledger};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::store;

/// What a power failure takes of an account at most.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Between two notes of a guest that runs, if nobody asks for more: two in each
/// [`INTERVAL`], as a power failure may spoil the last one, for which nobody has
/// waited, and then the one before it counts, which was made this much earlier.
pub const NOTES: Duration = Duration::from_secs(INTERVAL.as_secs() / 2);

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

/// What is where a ledger belongs.
enum Home {
    /// One that is whole.
    Whole(Box<Ledger>),
    /// Nothing yet.
    Nothing,
    /// Files that are none, and why.
    Spoilt(io::Error),
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

    /// Reads the ledger; if there is none that is whole, one that goes on after
    /// the history.
    ///
    /// # Errors
    /// When a file is there and can't be read. It is not begun anew then: what
    /// was counted would be lost.
    pub fn read(&self) -> Result<Ledger> {
        let home = match self.home()? {
            Home::Whole(ledger) => *ledger,
            Home::Nothing | Home::Spoilt(_) => Ledger::after(&self.history()?),
        };
        Ok(match whole(&self.aside) {
            Ok(Some(aside)) if aside.is_later_than(&home) => aside,
            _ => home,
        })
    }

    /// What is to be told of an account that goes on from its history though
    /// there has been a ledger.
    pub fn damage(&self) -> Option<Error> {
        let Ok(Home::Spoilt(cause)) = self.home() else { return None };
        let path = self.ledger.display();
        let text = format!("neither '{path}' nor '{path}.old' is an account: {cause}");
        Some(Error::new(text).hint("it goes on from its history, without the last hour"))
    }

    /// The newest ledger that is whole where it belongs.
    fn home(&self) -> Result<Home> {
        let mut found = Home::Nothing;
        for path in [&self.ledger, &self.before] {
            match (whole(path), &found) {
                (Ok(Some(ledger)), _) => return Ok(Home::Whole(Box::new(ledger))),
                (Err(error), _) if error.kind() != ErrorKind::InvalidData => {
                    return Err(Error::path("read", path, error));
                }
                (Err(error), Home::Nothing) => found = Home::Spoilt(error),
                _ => {}
            }
        }
        Ok(found)
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
        match self.keep_before() && ledger.closed.is_empty() {
            true => store::replace_unsynced(&self.ledger, &text(ledger), 0o600)?,
            false => store::replace(&self.ledger, &text(ledger), 0o600)?,
        }
        for hour in &ledger.closed {
            self.append(hour).map_err(|error| Error::path("write", &self.history, error))?;
        }
        ledger.closed.clear();
        Ok(())
    }

    /// Makes the ledger the one before, if that is old; tells whether there is
    /// one on the disk that the next may fall back to. However often notes are
    /// made, the disk is asked for one twice in an interval.
    fn keep_before(&self) -> bool {
        let written = fs::metadata(&self.before).and_then(|about| about.modified()).ok();
        // A clock that was set back says nothing.
        let age = written.and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age < NOTES) {
            return true;
        }
        // One that a power failure has emptied replaces none.
        let Ok(Some(_)) = whole(&self.ledger) else { return written.is_some() };
        let kept = File::open(&self.ledger).and_then(|file| file.sync_data()).and_then(|()| {
            let _ = fs::remove_file(&self.before);
            fs::hard_link(&self.ledger, &self.before)
        });
        kept.is_ok()
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
        match fs::read(&self.history) {
            Ok(bytes) => Ok(parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::path("read", &self.history, error)),
        }
    }

    fn append(&self, hour: &Hour) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(&self.history)?;
        if file.metadata()?.len() > LONG {
            let lines = parse(&String::from_utf8_lossy(&fs::read(&self.history)?));
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

/// A ledger that can be read; `None` where there is no file.
fn whole(path: &Path) -> io::Result<Option<Ledger>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
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

    /// Sets back when the files of a book were written.
    fn age(book: &Book, by: Duration) {
        for path in [&book.ledger, &book.before] {
            let Ok(file) = File::options().write(true).open(path) else { continue };
            let written = file.metadata().unwrap().modified().unwrap();
            file.set_modified(written - by).unwrap();
        }
    }

    /// Notes at the usual times, and in between whenever somebody asks.
    #[test]
    fn what_a_power_failure_loses_is_one_interval_at_most() {
        let prefix = tempfile::tempdir().unwrap();
        let book = Book::new(&Paths::new(prefix.path()), &"web".parse().unwrap());
        let mut ledger = book.read().unwrap();
        let half = NOTES.as_secs();
        let asked = [7, 8, half + 1, half + 29, 2 * half + 5, 2 * half + 20, 2 * half + 25];
        let mut last = 0;
        for time in (0..20 * half).filter(|time| time % half == 0 || asked.contains(time)) {
            age(&book, Duration::from_secs(time - last));
            last = time;
            // Just before the note, the one of last time is lost, or cut short. The
            // very first one has been waited for.
            if book.before.exists() {
                let now = fs::read(&book.ledger).unwrap();
                for length in [0, now.len() / 2] {
                    fs::write(&book.ledger, &now[..length]).unwrap();
                    let known = book.read().unwrap().total.counters.user_us;
                    assert!(known + INTERVAL.as_secs() >= time, "at {time}: {known}");
                }
                fs::write(&book.ledger, &now).unwrap();
            }
            ledger.take(time, sample(time));
            book.write(&mut ledger).unwrap();
            assert_eq!(book.read().unwrap(), ledger);
        }
    }

    /// Each of the two files is emptied, cut short or filled with zeros, and so
    /// are both.
    #[test]
    fn a_spoilt_account_goes_on() {
        let prefix = tempfile::tempdir().unwrap();
        let paths = Paths::new(prefix.path());
        let book = Book::new(&paths, &"web".parse().unwrap());
        let mut ledger = book.read().unwrap();
        for hour in 0..4 {
            age(&book, NOTES);
            ledger.take(hour * HOUR, sample(10 * (hour + 1)));
            book.write(&mut ledger).unwrap();
        }
        let files = [&book.ledger, &book.before].map(|path| fs::read(path).unwrap());
        let history = fs::read(&book.history).unwrap();
        // Now, a note before, and what is in the history.
        for (which, total) in [([false, true], 40), ([true, false], 30), ([true, true], 30)] {
            for how in
                [|_: &[u8]| vec![], |it: &[u8]| it[..9].into(), |it: &[u8]| vec![0; it.len()]]
            {
                for ((path, whole), spoilt) in
                    [&book.ledger, &book.before].into_iter().zip(&files).zip(which)
                {
                    // Not the one file with two names.
                    fs::remove_file(path).unwrap();
                    fs::write(path, if spoilt { how(whole) } else { whole.clone() }).unwrap();
                }
                let mut again = book.read().unwrap();
                assert_eq!(again.total.counters.user_us, total);
                assert_eq!(sum(book.hours().unwrap(), 0, u64::MAX), again.total);
                let damage = book.damage().map(|error| error.to_string());
                assert_eq!(damage.is_some(), which == [true, true], "{damage:?}");
                // The next note doesn't take away what it fell back to.
                age(&book, NOTES);
                again.take(9 * HOUR, Sample { source: "b".into(), ..sample(5) });
                book.write(&mut again).unwrap();
                assert_eq!(book.read().unwrap().total, again.total);
                assert!(book.damage().is_none());
                if !which[1] {
                    fs::write(&book.ledger, "").unwrap();
                    assert!(book.read().unwrap().total.counters.user_us >= 30);
                }
                fs::write(&book.history, &history).unwrap();
            }
        }
    }

    #[test]
    fn one_that_was_set_aside_goes_on_from_its_history() {
        let prefix = tempfile::tempdir().unwrap();
        let paths = Paths::new(prefix.path());
        let book = Book::new(&paths, &"web".parse().unwrap());
        let mut ledger = book.read().unwrap();
        for hour in 0..4 {
            ledger.take(hour * HOUR, sample(10 * (hour + 1)));
            book.write(&mut ledger).unwrap();
        }
        assert_eq!(names(&paths).unwrap(), ["web".parse().unwrap()]);
        for file in [&book.ledger, &book.before] {
            fs::remove_file(file).unwrap();
        }
        let mut again = book.read().unwrap();
        assert!(book.damage().is_none());
        assert_eq!(again.total.counters.user_us, 30);
        again.take(9 * HOUR, Sample { source: "b".into(), ..sample(5) });
        book.write(&mut again).unwrap();
        assert_eq!(again.total.counters.user_us, 35);
        assert_eq!(sum(book.hours().unwrap(), 0, u64::MAX), again.total);
        // What the disk itself can't give is not begun anew.
        fs::remove_file(&book.ledger).unwrap();
        fs::create_dir(&book.ledger).unwrap();
        assert!(book.read().unwrap_err().to_string().contains("cannot read"));
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
