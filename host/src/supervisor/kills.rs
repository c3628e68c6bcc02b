//! Processes of the guest that the kernel kills for want of memory: noted in
//! the log when it happens.
//!
//! The kernel tells of a change of `memory.events` (cgroup v2 kernel doc,
//! "Memory Interface Files"; poll(2), `POLLPRI`), also of those that a guest
//! can cause as often as it likes. So it is heard once a second at most.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::journal::Kind;

use super::Supervisor;

/// Between two looks that found something new.
const PAUSE: Duration = Duration::from_secs(1);

/// More than the file ever holds.
const LONGEST: usize = 1024;

/// The kernel's count for one boot.
#[derive(Debug)]
pub struct Kills {
    file: File,
    text: String,
    seen: u64,
    deaf_until: Option<Instant>,
}

impl Kills {
    /// Listens to the cgroup with the guest's limits. What was counted before
    /// is new, or with `is_known`, isn't. `None` where the host doesn't count.
    pub fn open(cgroup: &Path, is_known: bool) -> Option<Self> {
        let file = File::open(cgroup.join("memory.events")).ok()?;
        let mut kills = Self { file, text: String::new(), seen: 0, deaf_until: None };
        if is_known {
            kills.text = kills.read();
            kills.seen = count(&kills.text);
        }
        Some(kills)
    }

    /// How many there are that weren't seen yet.
    pub fn look(&mut self, now: Instant) -> u64 {
        if self.deaf_until.is_some_and(|until| until > now) {
            return 0;
        }
        let text = self.read();
        self.deaf_until = (text != self.text).then(|| now + PAUSE);
        let count = count(&text);
        let new = count.saturating_sub(self.seen);
        self.text = text;
        self.seen = self.seen.max(count);
        new
    }

    /// All that were seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What to wait for `POLLPRI` on; nothing for a while after a change.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.deaf_until.is_none().then(|| self.file.as_fd())
    }

    /// Until then.
    pub fn deaf_until(&self) -> Option<Instant> {
        self.deaf_until
    }

    /// A cgroup that is gone counts no more.
    fn read(&self) -> String {
        let mut bytes = [0; LONGEST];
        let length = self.file.read_at(&mut bytes, 0).unwrap_or(0);
        String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
    }
}

impl Supervisor {
    /// Notes those that are new.
    pub(super) fn hear_kills(&mut self) {
        let Some(kills) = &mut self.kills else { return };
        let (new, all) = (kills.look(Instant::now()), kills.seen());
        if new > 0 {
            let text = "out of memory: the kernel has killed processes of the guest";
            self.say(Kind::OutOfMemory, &format!("{text}: {new}, {all} in this boot"));
        }
    }
}

fn count(events: &str) -> u64 {
    let line = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_kill_is_noted_once_and_at_most_once_a_second() {
        let directory = tempfile::tempdir().unwrap();
        let events = |high: u32, kills: u32| {
            let text = format!("high {high}\noom 1\noom_kill {kills}\noom_group_kill 0\n");
            fs::write(directory.path().join("memory.events"), text).unwrap();
        };
        events(0, 2);
        let now = Instant::now();
        let mut known = Kills::open(directory.path(), true).unwrap();
        assert_eq!((known.look(now), known.seen()), (0, 2));
        let mut kills = Kills::open(directory.path(), false).unwrap();
        assert_eq!(kills.look(now), 2);
        events(0, 5);
        assert!(kills.watched().is_none());
        assert_eq!(kills.look(now), 0);
        assert_eq!(kills.look(now + PAUSE), 3);
        // Other changes are heard as seldom.
        events(9, 5);
        assert_eq!(kills.look(now + 2 * PAUSE), 0);
        assert!(kills.watched().is_none());
        assert_eq!(kills.look(now + 3 * PAUSE), 0);
        assert!(kills.watched().is_some() && kills.deaf_until().is_none());
        assert!(Kills::open(Path::new("/nonexistent"), true).is_none());
    }
}
