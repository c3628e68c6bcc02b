//! The guest's account, kept while it runs.
//!
//! The kernel counts; this only notes what it has counted, often enough that
//! a power failure loses little, and before a cgroup goes.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::accounting::{self, Book, Incident, Ledger, Sample};
use crate::error::Result;

use super::timers::Timer;
use super::{Supervisor, now_ms};

/// Between two notes; what a power failure loses at most.
const INTERVAL: Duration = Duration::from_secs(60);

/// An account that is open.
#[derive(Debug)]
pub struct Account {
    book: Book,
    ledger: Ledger,
}

impl Account {
    /// Opens it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn open(book: Book) -> Result<Self> {
        let ledger = book.read()?;
        Ok(Self { book, ledger })
    }

    /// Takes in what the kernel has counted for a cgroup that began to count
    /// at `began_ms`, with the network of a process of it. It is up until now;
    /// what remains of one (`began_ms` not known) was so until the last time.
    fn sample(&mut self, cgroup: &Path, began_ms: Option<u64>, pid: Option<i32>) {
        let Some(source) = accounting::inode(cgroup) else { return };
        let usage = accounting::usage(cgroup);
        let last = self.ledger.last.as_ref().filter(|last| last.source == source);
        // A network that is gone already has counted what it had.
        let network = pid.and_then(accounting::network);
        let (received, sent) = network
            .or_else(|| last.map(|last| (last.counters.received, last.counters.sent)))
            .unwrap_or_default();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let counters = accounting::Counters {
            user_us: micros(usage.user),
            system_us: micros(usage.system),
            read: usage.read.unwrap_or(0),
            written: usage.written.unwrap_or(0),
            received,
            sent,
        };
        let memory = usage.memory.unwrap_or(0);
        let taken_ms = match (began_ms, last) {
            (None, Some(last)) => last.taken_ms,
            _ => now_ms(),
        };
        let began_ms = began_ms.unwrap_or(taken_ms);
        let sample = Sample { source, began_ms, taken_ms, counters, memory };
        self.ledger.take(seconds(), sample);
    }

    fn write(&mut self) {
        if let Err(error) = self.book.write(&mut self.ledger) {
            tracing::warn!("the guest's account isn't kept: {error}");
        }
    }
}

impl Supervisor {
    /// Notes what has been used until now.
    pub(super) fn keep_account(&mut self) {
        let cgroup = self.cgroup.limited(self.state.boot);
        let pid = self.keeper.as_ref().map(|keeper| keeper.init_pid());
        if let Some(account) = &mut self.account {
            account.sample(&cgroup, Some(self.state.booted_at_ms), pid);
            account.write();
        }
    }

    /// Notes it again after a while.
    pub(super) fn arm_account(&mut self) {
        self.arm(Timer::Account, INTERVAL);
    }

    /// Notes what was used in cgroups that nobody has looked after.
    pub(super) fn keep_account_of_remains(&mut self) {
        let Some(account) = &mut self.account else { return };
        let mut any = false;
        for entry in fs::read_dir(self.cgroup.outer()).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with("guest-")) {
                account.sample(&entry.path(), None, None);
                any = true;
            }
        }
        if any {
            account.write();
        }
    }

    /// Counts a boot or a crash; it is written with the next note.
    pub(super) fn note(&mut self, incident: Incident) {
        if let Some(account) = &mut self.account {
            account.ledger.note(seconds(), incident);
        }
    }
}

/// The host's time of the day.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
