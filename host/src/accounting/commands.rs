//! What a guest's processes have used, by their names. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::acct::Record;

/// Sums over processes of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// How many there were.
    pub processes: u64,
    /// Their times in user mode.
    pub user: Duration,
    /// Their times in the kernel.
    pub system: Duration,
    /// From their beginnings to their ends.
    pub elapsed: Duration,
    /// Their real uids, as the guest knows them.
    pub uids: BTreeSet<u32>,
}

/// Sums over records, which are to be given in the order in which they were
/// written.
#[derive(Clone, Debug)]
pub struct Commands {
    period: Range<u64>,
    ids: Range<u32>,
    found: BTreeMap<[u8; 16], Command>,
    /// The last record of a PID 1, unless it has had its second one.
    init: Option<Record>,
}

impl Commands {
    /// Counts processes that began in this period. Uids in `ids`, the range
    /// of a guest with private ids, are its own; others mean the same on
    /// both sides, as they do in the other modes.
    pub fn new(period: Range<u64>, ids: Range<u32>) -> Self {
        Self { period, ids, found: BTreeMap::new(), init: None }
    }

    /// Counts one more process.
    pub fn add(&mut self, record: &Record) {
        if self.is_second(record) || !self.period.contains(&record.began.into()) {
            return;
        }
        let one = self.found.entry(record.command).or_default();
        one.processes += 1;
        one.user = one.user.saturating_add(record.user);
        one.system = one.system.saturating_add(record.system);
        one.elapsed = one.elapsed.saturating_add(record.elapsed);
        let is_own = self.ids.contains(&record.uid);
        one.uids.insert(if is_own { record.uid - self.ids.start } else { record.uid });
    }

    /// PID 1 is recorded when it ends, and again when the kernel takes its
    /// namespace down and so ends the accounting (`acct_pin_kill` in
    /// kernel/acct.c). The second has the same times, or a tick more.
    fn is_second(&mut self, record: &Record) -> bool {
        if record.pid != 1 {
            return false;
        }
        let first = self.init.take();
        let is_second = first.is_some_and(|first| {
            first.command == record.command
                && first.uid == record.uid
                && first.began.abs_diff(record.began) <= 1
                && first.user == record.user
                && first.system == record.system
        });
        self.init = (!is_second).then_some(*record);
        is_second
    }

    /// The sums by name, those with the most processor time first, as sa(8)
    /// has them.
    pub fn sorted(self) -> Vec<(String, Command)> {
        let mut all: Vec<_> = self.found.into_iter().collect();
        all.sort_by_key(|(_, one)| std::cmp::Reverse((one.user + one.system, one.processes)));
        let name = |bytes: &[u8; 16]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        all.into_iter().map(|(bytes, one)| (name(&bytes), one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALWAYS: Range<u64> = 0..u64::MAX;
    const IDS: Range<u32> = 100_000..165_536;

    fn record(command: &str, pid: u32) -> Record {
        let mut bytes = [0; 16];
        bytes[..command.len()].copy_from_slice(command.as_bytes());
        let second = Duration::from_secs(1);
        Record {
            command: bytes,
            uid: 100_033,
            pid,
            began: 1000,
            elapsed: 3 * second,
            user: second,
            system: Duration::ZERO,
        }
    }

    fn sum(records: &[Record]) -> Vec<(String, Command)> {
        let mut commands = Commands::new(ALWAYS, IDS);
        records.iter().for_each(|record| commands.add(record));
        commands.sorted()
    }

    #[test]
    fn ids_are_the_guests() {
        let uids = [100_000, 165_535, 0, 33, 165_536, 100_000];
        let records = uids.map(|uid| Record { uid, ..record("sh", 7) });
        let all = sum(&records);
        assert_eq!(all[0].1.uids, [0, 33, 65_535, 165_536].into());
        assert_eq!(all[0].1.processes, 6);
    }

    #[test]
    fn pid_1_is_counted_once_a_boot() {
        let first = record("init", 1);
        // The second record may be written in the next second.
        let second = Record { began: 1001, elapsed: Duration::from_secs(4), ..first };
        let number = |records: &[Record]| sum(records)[0].1.processes;
        assert_eq!(number(&[first, second]), 1);
        // Two short boots, one of which was cut off with its host.
        assert_eq!(number(&[first, second, first, second]), 2);
        assert_eq!(number(&[first, Record { began: 1010, ..first }, first]), 3);
        assert_eq!(number(&[record("init", 7), record("init", 7)]), 2);
    }

    #[test]
    fn those_that_began_in_the_period_count() {
        let mut commands = Commands::new(1000..2000, IDS);
        for began in [999, 1000, 1999, 2000] {
            commands.add(&Record { began, ..record("sh", 7) });
        }
        assert_eq!(commands.sorted()[0].1.processes, 2);
        let mut none = Commands::new(1000..1000, IDS);
        none.add(&record("sh", 7));
        assert_eq!(none.sorted(), []);
    }

    #[test]
    fn the_busiest_are_first() {
        let long = Record { user: Duration::from_secs(9), ..record("b", 7) };
        let names: Vec<_> = sum(&[record("a", 7), record("c", 7), record("c", 8), long])
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["b", "c", "a"]);
    }

    proptest! {
        #[test]
        fn every_process_is_in_one_sum(
            all in proptest::collection::vec(("[a-c]{1,2}", 2..9_u32, 0..500_u64), 0..40)
        ) {
            let records: Vec<_> = all
                .iter()
                .map(|(name, pid, ms)| {
                    Record { user: Duration::from_millis(*ms), ..record(name, *pid) }
                })
                .collect();
            let sums = sum(&records);
            let processes: u64 = sums.iter().map(|(_, one)| one.processes).sum();
            prop_assert_eq!(processes, records.len() as u64);
            let user: Duration = sums.iter().map(|(_, one)| one.user).sum();
            prop_assert_eq!(user, records.iter().map(|record| record.user).sum());
        }
    }
}
