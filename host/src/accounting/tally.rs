//! Sums over the processes of a context. Pure.

use std::time::Duration;

/// The units in which /proc counts.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    per_second: u64,
    page: u64,
}

impl Ticks {
    /// Clock ticks a second and bytes a page (sysconf(3)).
    pub fn new(per_second: u64, page: u64) -> Self {
        Self { per_second: per_second.max(1), page }
    }

    /// A time that is given in clock ticks.
    pub fn time(self, ticks: u64) -> Duration {
        let (whole, rest) = (ticks / self.per_second, ticks % self.per_second);
        Duration::from_secs(whole) + Duration::from_secs(rest) / self.per_second as u32
    }

    /// A size that is given in pages.
    pub fn bytes(self, pages: u64) -> u64 {
        pages.saturating_mul(self.page)
    }
}

/// What was seen of one process.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its pid on the host.
    pub pid: i32,
    /// Size of its address space.
    pub virtual_bytes: u64,
    /// What of that is in memory.
    pub resident_bytes: u64,
    /// Time in user mode, that of children it has waited for included.
    pub user: Duration,
    /// Time in the kernel, likewise.
    pub system: Duration,
    /// When it was started, since the host was.
    pub started: Duration,
}

/// Sums over processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// How many there are.
    pub number: u64,
    /// Sizes of address spaces; shared parts count for each.
    pub virtual_bytes: u64,
    /// What of that is in memory, likewise.
    pub resident_bytes: u64,
    /// Times in user mode of those that there are, and of children they have
    /// waited for.
    pub user: Duration,
    /// Times in the kernel, likewise.
    pub system: Duration,
    /// When the first of them was started, since the host was, and its pid.
    pub first: Option<(Duration, i32)>,
}

impl Processes {
    /// Counts one more.
    pub fn add(&mut self, seen: &Seen) {
        self.number += 1;
        self.virtual_bytes = self.virtual_bytes.saturating_add(seen.virtual_bytes);
        self.resident_bytes = self.resident_bytes.saturating_add(seen.resident_bytes);
        self.user = self.user.saturating_add(seen.user);
        self.system = self.system.saturating_add(seen.system);
        let own = (seen.started, seen.pid);
        self.first = Some(self.first.map_or(own, |first| first.min(own)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_hundredths_on_linux() {
        let ticks = Ticks::new(100, 4096);
        assert_eq!(ticks.time(1234), Duration::from_millis(12_340));
        assert_eq!(ticks.bytes(3), 12_288);
        assert_eq!(ticks.bytes(u64::MAX), u64::MAX);
    }

    fn seen() -> impl Strategy<Value = Seen> {
        (any::<u64>(), any::<u64>(), 0..1u64 << 40, 0..1u64 << 40, 1..i32::MAX).prop_map(
            |(virtual_bytes, resident_bytes, time, started, pid)| Seen {
                pid,
                virtual_bytes,
                resident_bytes,
                user: Duration::from_millis(time),
                system: Duration::from_millis(time / 2),
                started: Duration::from_millis(started),
            },
        )
    }

    proptest! {
        #[test]
        fn the_order_of_processes_does_not_matter(all in proptest::collection::vec(seen(), 0..20)) {
            let mut forward = Processes::default();
            all.iter().for_each(|one| forward.add(one));
            let mut backward = Processes::default();
            all.iter().rev().for_each(|one| backward.add(one));
            prop_assert_eq!(forward, backward);
            prop_assert_eq!(forward.number, all.len() as u64);
            let first = all.iter().map(|one| (one.started, one.pid)).min();
            prop_assert_eq!(forward.first, first);
        }
    }
}
