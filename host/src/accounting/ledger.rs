//! What a guest has used, by the hour: arithmetic of counters. Pure.
//!
//! Samples of counters come in, at any times; the difference to the sample
//! before goes into the hour in which it was taken. So nothing is counted
//! twice however often a supervisor is replaced, and what is lost when the
//! power fails is what came after the last sample that was kept.

use serde::{Deserialize, Serialize};

use super::Bytes;

/// Seconds of an hour.
pub const HOUR: u64 = 3600;

/// Figures that only grow, while what counts them is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Microseconds in user mode.
    pub user_us: u64,
    /// Microseconds in the kernel.
    pub system_us: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to them.
    pub written: u64,
    /// Bytes that came in over interfaces but the loopback (`bpf::traffic`).
    pub received: u64,
    /// Bytes that went out.
    pub sent: u64,
    /// What of them came by IPv6. Older ledgers don't have it.
    #[serde(default)]
    pub received_ipv6: u64,
    /// What went out by IPv6. Older ledgers don't have it.
    #[serde(default)]
    pub sent_ipv6: u64,
    /// Processes that were killed for want of memory. Older ledgers don't
    /// have it.
    #[serde(default)]
    pub kills: u64,
    /// Processes that were made (`bpf::forks`). Older ledgers don't have it.
    #[serde(default)]
    pub forks: u64,
}

/// Counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// What counts: another source begins at 0.
    pub source: String,
    /// When that began to count, in milliseconds on a clock that is never set
    /// and starts with the host.
    pub began_ms: u64,
    /// When the sample was taken, on the same clock.
    pub taken_ms: u64,
    /// The counters.
    pub counters: Counters,
    /// Bytes of memory then.
    pub memory: u64,
    /// Is the source a boot of the guest? Then its first sample counts one.
    pub is_boot: bool,
}

/// Sums, of an hour or of all time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Milliseconds for which it was up.
    pub up_ms: u64,
    /// Memory over time, in MiB · ms.
    pub memory_mib_ms: u64,
    /// How often it was booted.
    pub boots: u64,
    /// How often it crashed.
    pub crashes: u64,
    /// What was counted.
    #[serde(flatten)]
    pub counters: Counters,
}

/// The sums of one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// Its number, from 1 in the order of beginning: the clock may be set
    /// back, and then a time of the day comes twice.
    pub number: u64,
    /// When it begins, in seconds since 1970.
    pub start: u64,
    /// What was used.
    #[serde(flatten)]
    pub sums: Sums,
}

/// The account of one guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Of all time.
    pub total: Sums,
    /// Of this hour.
    pub hour: Hour,
    /// Hours before, until they are known to be in the history.
    pub closed: Vec<Hour>,
    /// The last sample.
    pub last: Option<Sample>,
}

impl Counters {
    /// Of the network.
    pub fn traffic(&self) -> Bytes {
        let Self { received, sent, received_ipv6, sent_ipv6, .. } = *self;
        Bytes { received, sent, received_ipv6, sent_ipv6 }
    }

    /// What was counted since another sample of the same source.
    ///
    /// The kernel's figures of a cgroup are sums, of which a part can go: that of a
    /// disk goes with the disk, and that of the sessions with their cgroup, which
    /// systemd may remove. One that is less than it was has lost such a part; nothing
    /// has been used. A map of ours that is less than it was has begun again.
    fn since(&self, before: &Self) -> Self {
        let grown = u64::saturating_sub;
        let begun = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        Self {
            user_us: grown(self.user_us, before.user_us),
            system_us: grown(self.system_us, before.system_us),
            read: grown(self.read, before.read),
            written: grown(self.written, before.written),
            received: begun(self.received, before.received),
            sent: begun(self.sent, before.sent),
            received_ipv6: begun(self.received_ipv6, before.received_ipv6),
            sent_ipv6: begun(self.sent_ipv6, before.sent_ipv6),
            kills: grown(self.kills, before.kills),
            forks: begun(self.forks, before.forks),
        }
    }

    fn add(&mut self, more: &Self) {
        for (own, more) in [
            (&mut self.user_us, more.user_us),
            (&mut self.system_us, more.system_us),
            (&mut self.read, more.read),
            (&mut self.written, more.written),
            (&mut self.received, more.received),
            (&mut self.sent, more.sent),
            (&mut self.received_ipv6, more.received_ipv6),
            (&mut self.sent_ipv6, more.sent_ipv6),
            (&mut self.kills, more.kills),
            (&mut self.forks, more.forks),
        ] {
            *own = own.saturating_add(more);
        }
    }
}

impl Sums {
    /// Counts more.
    pub fn add(&mut self, more: &Self) {
        for (own, more) in [
            (&mut self.up_ms, more.up_ms),
            (&mut self.memory_mib_ms, more.memory_mib_ms),
            (&mut self.boots, more.boots),
            (&mut self.crashes, more.crashes),
        ] {
            *own = own.saturating_add(more);
        }
        self.counters.add(&more.counters);
    }
}

impl Ledger {
    /// Takes a sample in. `now` is the time in seconds since 1970.
    pub fn take(&mut self, now: u64, sample: Sample) {
        let before = self.last.take().filter(|last| last.source == sample.source);
        let none = Counters::default();
        let then = before.as_ref().map_or(&none, |last| &last.counters);
        let since = before.as_ref().map_or(sample.began_ms, |last| last.taken_ms);
        let up_ms = sample.taken_ms.saturating_sub(since);
        // Between two samples memory is taken to grow evenly.
        let memory = before.as_ref().map_or(sample.memory, |last| {
            last.memory / 2 + sample.memory / 2 + (last.memory % 2 + sample.memory % 2) / 2
        });
        let memory_mib_ms = (u128::from(memory) * u128::from(up_ms)) >> 20;
        let more = Sums {
            up_ms,
            boots: u64::from(before.is_none() && sample.is_boot),
            memory_mib_ms: u64::try_from(memory_mib_ms).unwrap_or(u64::MAX),
            counters: sample.counters.since(then),
            ..Sums::default()
        };
        self.last = Some(sample);
        self.book(now, &more);
    }

    /// Counts a crash.
    pub fn crashed(&mut self, now: u64) {
        self.book(now, &Sums { crashes: 1, ..Sums::default() });
    }

    /// One that goes on after a history, when the ledger itself was lost.
    pub fn after(history: &[Hour]) -> Self {
        let total = sum(history.iter().copied(), 0, u64::MAX);
        let last = history.iter().max_by_key(|hour| hour.number);
        Self { total, hour: last.copied().unwrap_or_default(), ..Self::default() }
    }

    /// Has more been taken into this one than into another of the same guest? One
    /// of the two has gone on from the other.
    pub fn is_later_than(&self, other: &Self) -> bool {
        let progress = |ledger: &Self| {
            let Sums { up_ms, boots, crashes, .. } = ledger.total;
            (up_ms, ledger.hour.number, boots, crashes)
        };
        progress(self) > progress(other)
    }

    fn book(&mut self, now: u64, more: &Sums) {
        let start = now - now % HOUR;
        if self.hour.number == 0 || self.hour.start != start {
            if self.hour.number > 0 {
                self.closed.push(self.hour);
            }
            let number = self.hour.number + 1;
            self.hour = Hour { number, start, sums: Sums::default() };
        }
        self.hour.sums.add(more);
        self.total.add(more);
    }
}

/// The sums of the hours that begin in a period, `until` not included. Hours
/// of the same number are the same hour, written twice; the last one counts.
pub fn sum(hours: impl IntoIterator<Item = Hour>, since: u64, until: u64) -> Sums {
    let mut by_number = std::collections::BTreeMap::new();
    for hour in hours {
        by_number.insert(hour.number, hour);
    }
    let mut sums = Sums::default();
    for hour in by_number.values().filter(|hour| (since..until).contains(&hour.start)) {
        sums.add(&hour.sums);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(source: &str, taken_ms: u64, user_us: u64, memory: u64) -> Sample {
        Sample {
            source: source.into(),
            began_ms: 0,
            taken_ms,
            counters: Counters { user_us, received: user_us / 2, ..Counters::default() },
            memory,
            is_boot: true,
        }
    }

    #[test]
    fn an_hour_is_closed_by_the_next() {
        let mut ledger = Ledger::default();
        ledger.take(7200, sample("a", 0, 0, 1 << 20));
        ledger.take(7260, sample("a", 60_000, 10, 1 << 20));
        assert_eq!(ledger.closed, []);
        ledger.take(10_800, sample("a", 120_000, 15, 1 << 20));
        let closed = ledger.closed[0];
        assert_eq!((closed.number, closed.start), (1, 7200));
        assert_eq!(closed.sums.counters.user_us, 10);
        assert_eq!(ledger.hour.sums.counters.user_us, 5);
        assert_eq!(ledger.total.counters.user_us, 15);
        assert_eq!((ledger.total.up_ms, ledger.total.memory_mib_ms), (120_000, 120_000));
        assert_eq!((ledger.total.boots, ledger.total.crashes), (1, 0));
        assert_eq!(sum([closed, closed, ledger.hour], 0, u64::MAX), ledger.total);
        assert_eq!(sum([closed, ledger.hour], 7200, 10_800), closed.sums);
    }

    #[test]
    fn another_source_begins_at_nothing() {
        let mut ledger = Ledger::default();
        ledger.take(0, sample("a", 1000, 100, 0));
        ledger.take(0, sample("b", 3000, 30, 0));
        assert_eq!(ledger.total.counters.user_us, 130);
        assert_eq!(ledger.total.boots, 2);
    }

    #[test]
    fn what_goes_is_not_counted_again() {
        let mut ledger = Ledger::default();
        let mut take = |taken_ms, read, received| {
            let counters = Counters { read, received, ..Counters::default() };
            ledger.take(0, Sample { counters, ..sample("a", taken_ms, 0, 0) });
            (ledger.total.counters.read, ledger.total.counters.received)
        };
        assert_eq!(take(1000, 1000, 100), (1000, 100));
        // A disk is gone of two, and a map was made anew.
        assert_eq!(take(2000, 990, 10), (1000, 110));
        assert_eq!(take(3000, 995, 15), (1005, 115));
    }

    /// Hours are named by the clock on the wall; how long they were, another tells.
    #[test]
    fn a_clock_that_jumps_adds_and_takes_nothing() {
        let mut ledger = Ledger::default();
        let (mut hours, mut time) = (Vec::new(), 0);
        let noon = 100 * HOUR;
        for clock in [noon, noon + 60, noon - 5 * HOUR, noon + 90, noon + 9 * HOUR, 0, noon + 120] {
            ledger.take(clock, sample("a", time, time, 1 << 20));
            hours.append(&mut ledger.closed);
            time += 60_000;
        }
        hours.push(ledger.hour);
        assert_eq!(ledger.total.up_ms, 360_000);
        assert!(hours.iter().all(|hour| hour.sums.up_ms <= 60_000), "{hours:?}");
        assert_eq!(sum(hours.clone(), 0, u64::MAX), ledger.total);
        // Both times at which it was noon, and no other.
        assert_eq!(sum(hours, noon, noon + HOUR).up_ms, 180_000);
    }

    #[test]
    fn it_can_be_written_and_read() {
        let mut ledger = Ledger::default();
        ledger.take(7260, sample("a", 60_000, 10, 1 << 20));
        ledger.take(10_800, sample("a", 120_000, 15, 1 << 20));
        let text = serde_json::to_string(&ledger).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }

    proptest! {
        /// However often samples are taken, and whenever the clock is set.
        #[test]
        fn totals_do_not_depend_on_the_sampling(
            steps in proptest::collection::vec((0..100_000u64, any::<bool>(), 0..20_000u64), 1..60)
        ) {
            let (mut every, mut some) = (Ledger::default(), Ledger::default());
            let mut history = Vec::new();
            let (mut user, mut time) = (0, 0);
            let last = steps.len() - 1;
            for (index, (work, kept, clock)) in steps.iter().enumerate() {
                user += work;
                time += 1000;
                let now = sample("a", time, user, 0);
                every.take(*clock, now.clone());
                history.append(&mut every.closed);
                if *kept || index == last {
                    some.take(*clock, now);
                }
            }
            prop_assert_eq!(every.total, some.total);
            prop_assert_eq!(every.total.counters.user_us, user);
            prop_assert_eq!(every.total.up_ms, time);
            history.push(every.hour);
            prop_assert_eq!(sum(history.clone(), 0, u64::MAX), every.total);
            history.extend(history.clone());
            prop_assert_eq!(sum(history, 0, u64::MAX), every.total);
        }
    }
}
