//! The guest's account, kept while it runs.
//!
//! The kernel counts; this only notes what it has counted, often enough that
//! a power failure loses little, and before a cgroup goes.

use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shared::name::GuestName;

use crate::accounting::forks::{self, Forks, Made};
use crate::accounting::{self, Book, Bytes, Kept, Ledger, NOTES, Sample, Traffic};
use crate::cgroup::GuestCgroup;
use crate::error::Result;
use crate::paths::Paths;
use crate::runtime::State;

use super::timers::Timer;
use super::{Supervisor, now_ms};

/// An account that is open.
#[derive(Debug)]
pub struct Account {
    book: Book,
    ledger: Ledger,
    /// Is there no room for it where it belongs? That is told once.
    is_aside: bool,
}

/// What programs have counted for a boot, where they do.
#[derive(Clone, Copy, Debug)]
struct Counted {
    traffic: Option<Bytes>,
    forks: Option<u64>,
}

impl Account {
    /// Opens it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn open(book: Book) -> Result<Self> {
        let ledger = book.read()?;
        if let Some(damage) = book.damage() {
            tracing::warn!("{damage}");
        }
        Ok(Self { book, ledger, is_aside: false })
    }

    /// Takes in what the kernel has counted for a boot: for its cgroup and the
    /// host's for its sessions, since `began_ms`, and by programs. It is up
    /// until now; what remains of one (`began_ms` not known) was so until the
    /// last time.
    fn sample(
        &mut self,
        cgroups: [&Path; 2],
        began_ms: Option<u64>,
        counted: Counted,
        is_boot: bool,
    ) {
        let Some(source) = accounting::inode(cgroups[0]) else { return };
        let [own, of_sessions] = cgroups.map(accounting::counted);
        let both = own.and_then(|mut usage| {
            usage.add(&of_sessions?);
            Ok(usage)
        });
        let usage = match both {
            Ok(usage) => usage,
            // It only grows: nothing of it is lost.
            Err(error) => {
                return tracing::warn!("what the guest uses is noted the next time: {error}");
            }
        };
        let last = self.ledger.last.as_ref().filter(|last| last.source == source);
        // Where nobody counts any more, what has been counted stands.
        let traffic = counted.traffic.or_else(|| last.map(|last| last.counters.traffic()));
        let forks = counted.forks.or_else(|| last.map(|last| last.counters.forks));
        let Bytes { received, sent, received_ipv6, sent_ipv6 } = traffic.unwrap_or_default();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let counters = accounting::Counters {
            user_us: micros(usage.user),
            system_us: micros(usage.system),
            read: usage.read.unwrap_or(0),
            written: usage.written.unwrap_or(0),
            received,
            sent,
            received_ipv6,
            sent_ipv6,
            kills: usage.kills.unwrap_or(0),
            forks: forks.unwrap_or(0),
        };
        let memory = usage.memory.unwrap_or(0);
        let taken_ms = match (began_ms, last) {
            (None, Some(last)) => last.taken_ms,
            _ => now_ms(),
        };
        let began_ms = began_ms.unwrap_or(taken_ms);
        let sample = Sample { source, began_ms, taken_ms, counters, memory, is_boot };
        self.ledger.take(seconds(), sample);
    }

    fn write(&mut self) -> Result<()> {
        match self.book.write(&mut self.ledger) {
            Ok(Kept::Home) => {
                if mem::take(&mut self.is_aside) {
                    tracing::info!("the guest's account is kept where it belongs again");
                }
                Ok(())
            }
            Ok(Kept::Aside(error)) => {
                if !mem::replace(&mut self.is_aside, true) {
                    tracing::warn!("the guest's account is kept in /run for now: {error}");
                }
                Ok(())
            }
            Err(error) => {
                tracing::warn!("the guest's account isn't kept: {error}");
                Err(error)
            }
        }
    }
}

impl Supervisor {
    /// Notes what has been used until now.
    ///
    /// # Errors
    /// When the account can't be read or written; it is tried again the next
    /// time.
    pub(super) fn keep_account(&mut self) -> Result<()> {
        let (cgroup, sessions) = (self.cgroup.limited(self.state.boot), self.cgroup.session());
        let traffic = self.traffic().and_then(|traffic| traffic.read().ok());
        let counted = Counted { traffic, forks: self.made() };
        let (began_ms, is_boot) = (self.state.booted_at_ms, self.is_booted);
        let account = self.open_account()?;
        account.sample([&cgroup, &sessions], Some(began_ms), counted, is_boot);
        account.write()
    }

    /// Begins to count the processes of the boot that begins, where the kernel
    /// has the means; to be called before its state is written.
    pub(super) fn count_forks(&mut self) {
        self.end_forks();
        let held = match self.hold_starts() {
            Ok(held) => held,
            Err(error) => return forks::uncounted(&error),
        };
        let forks = Forks::new().and_then(|forks| Ok((forks.id()?, forks)));
        drop(held);
        match forks {
            Ok((id, forks)) => (self.state.forks, self.forks) = (Some(id), Some(forks)),
            Err(error) => forks::uncounted(&error),
        }
    }

    /// Ends it, when the boot has ended and been noted.
    pub(super) fn end_forks(&mut self) {
        self.forks = None;
        self.made = None;
        if let Some(Err(error)) = self.state.forks.take().map(forks::end) {
            tracing::debug!("cannot end counting processes: {error}");
        }
    }

    /// Where the traffic of this boot is counted, if it is.
    pub(super) fn traffic(&mut self) -> Option<&Traffic> {
        if self.traffic.is_none() {
            // Begun by a supervisor before this one.
            self.traffic = self.state.traffic.and_then(|id| Traffic::open(id).ok());
        }
        self.traffic.as_ref()
    }

    /// The processes of this boot, if they are counted. From then on the number
    /// is there even if the keeper dies.
    fn made(&mut self) -> Option<u64> {
        if self.made.is_none() {
            self.made = self.state.forks.and_then(|id| Made::open(id).ok());
        }
        self.made.as_ref()?.read().ok()
    }

    fn open_account(&mut self) -> Result<&mut Account> {
        let account = match self.account.take() {
            Some(account) => account,
            None => Account::open(Book::new(&self.planner.paths, &self.plan.name))
                .inspect_err(|error| tracing::error!("{error}"))?,
        };
        Ok(self.account.insert(account))
    }

    /// Notes it again after a while.
    pub(super) fn arm_account(&mut self) {
        // The keeper, which holds the number, may die before that.
        let _ = self.made();
        self.arm(Timer::Account, NOTES);
    }

    /// Counts a crash; it is written with the next note.
    pub(super) fn note_crash(&mut self) {
        if let Ok(account) = self.open_account() {
            account.ledger.crashed(seconds());
        }
    }
}

/// Notes what a boot has used that nobody looks after any more. Those before
/// it were noted when they ended, also where their cgroups couldn't be
/// removed.
pub(super) fn keep_account_of_remains(
    paths: &Paths,
    name: &GuestName,
    cgroup: &GuestCgroup,
    state: &State,
    traffic: Option<&Traffic>,
) {
    if !cgroup.outer().exists() {
        return;
    }
    let account = Account::open(Book::new(paths, name));
    let Ok(mut account) = account.inspect_err(|error| tracing::error!("{error}")) else { return };
    let Some(last) = last_boot(cgroup, state, &account.ledger) else { return };
    let counted = Counted {
        traffic: traffic.and_then(|traffic| traffic.read().ok()),
        forks: state.forks.and_then(|id| Made::open(id).ok()?.read().ok()),
    };
    account.sample([&last, &cgroup.session()], None, counted, !state.idle);
    // It is in the log.
    let _ = account.write();
}

/// The cgroup of the last boot: by its number, or where that is lost by what
/// was noted last.
fn last_boot(cgroup: &GuestCgroup, state: &State, ledger: &Ledger) -> Option<PathBuf> {
    if state.boot > 0 {
        return Some(cgroup.limited(state.boot));
    }
    let entries = fs::read_dir(cgroup.outer()).ok()?;
    let last = ledger.last.as_ref()?;
    let mut directories = entries.flatten().map(|entry| entry.path());
    directories.find(|it| accounting::inode(it).is_some_and(|source| source == last.source))
}

/// The host's time of the day.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the kernel's that can't be read for a moment.
    #[test]
    fn what_cannot_be_read_is_not_counted_again() {
        let prefix = tempfile::tempdir().unwrap();
        let book = Book::new(&Paths::new(prefix.path()), &"web".parse().unwrap());
        let mut account = Account::open(book).unwrap();
        let cgroups = ["boot", "sessions"].map(|name| prefix.path().join(name));
        for cgroup in &cgroups {
            fs::create_dir(cgroup).unwrap();
        }
        let mut sample = |users: [Option<u64>; 2]| {
            for (cgroup, user) in cgroups.iter().zip(users) {
                let file = cgroup.join("cpu.stat");
                let _ = fs::remove_file(&file);
                let _ = fs::remove_dir(&file);
                match user {
                    Some(user) => fs::write(file, format!("user_usec {user}\n")).unwrap(),
                    // There, and no text.
                    None => fs::create_dir(file).unwrap(),
                }
            }
            let counted = Counted { traffic: None, forks: None };
            account.sample([&cgroups[0], &cgroups[1]], Some(0), counted, true);
            account.ledger.total.counters.user_us
        };
        assert_eq!(sample([Some(1000), Some(500)]), 1500);
        assert_eq!(sample([Some(1100), None]), 1500);
        assert_eq!(sample([None, Some(600)]), 1500);
        assert_eq!(sample([Some(1200), Some(600)]), 1800);
        // Sessions whose cgroup has gone and come again.
        fs::remove_file(prefix.path().join("sessions/cpu.stat")).unwrap();
        assert_eq!(sample([Some(1200), Some(10)]), 1800);
        assert_eq!(sample([Some(1200), Some(40)]), 1830);
    }
}
