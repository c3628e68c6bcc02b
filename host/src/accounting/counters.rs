//! The files in which the kernel counts what a cgroup uses. Pure: text in,
//! numbers out.

use std::time::Duration;

/// What the kernel has counted for one cgroup, or for several together. What
/// is counted only by a controller is `None` where that isn't there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Time in user mode (`cpu.stat`; needs no controller).
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
    /// Time for which it was held back by its processor limit.
    pub throttled: Option<Duration>,
    /// Bytes of memory now, caches included.
    pub memory: Option<u64>,
    /// The most there ever were.
    pub memory_peak: Option<u64>,
    /// Bytes of swap.
    pub swap: Option<u64>,
    /// Processes that were killed for want of memory.
    pub kills: Option<u64>,
    /// Bytes read from block devices.
    pub read: Option<u64>,
    /// Bytes written to them.
    pub written: Option<u64>,
    /// Share of the last ten seconds in which some of it waited for a
    /// processor, in percent; for several cgroups, the greatest.
    pub cpu_pressure: Option<f64>,
    /// For memory.
    pub memory_pressure: Option<f64>,
    /// For block devices.
    pub io_pressure: Option<f64>,
}

impl Usage {
    /// Counts another cgroup's.
    pub fn add(&mut self, other: &Self) {
        self.user += other.user;
        self.system += other.system;
        self.throttled = both(self.throttled, other.throttled, |a, b| a + b);
        for (own, other) in [
            (&mut self.memory, other.memory),
            // Those of two cgroups need not have been at the same time: at
            // most this.
            (&mut self.memory_peak, other.memory_peak),
            (&mut self.swap, other.swap),
            (&mut self.kills, other.kills),
            (&mut self.read, other.read),
            (&mut self.written, other.written),
        ] {
            *own = both(*own, other, u64::saturating_add);
        }
        for (own, other) in [
            (&mut self.cpu_pressure, other.cpu_pressure),
            (&mut self.memory_pressure, other.memory_pressure),
            (&mut self.io_pressure, other.io_pressure),
        ] {
            *own = both(*own, other, f64::max);
        }
    }

    /// Reads the files of one cgroup; `text` gives the content of one, by its
    /// name.
    pub fn read(text: impl Fn(&str) -> Option<String>) -> Self {
        let cpu = text("cpu.stat").unwrap_or_default();
        let time = |key: &str| value(&cpu, key).map(Duration::from_micros);
        let number = |file: &str| text(file)?.trim().parse().ok();
        let io = text("io.stat");
        let io = |key: &str| io.as_deref().map(|table| sum(table, key));
        let pressure = |file: &str| some_avg10(&text(file)?);
        Self {
            user: time("user_usec").unwrap_or_default(),
            system: time("system_usec").unwrap_or_default(),
            throttled: time("throttled_usec"),
            memory: number("memory.current"),
            memory_peak: number("memory.peak"),
            swap: number("memory.swap.current"),
            kills: text("memory.events").and_then(|events| value(&events, "oom_kill")),
            read: io("rbytes"),
            written: io("wbytes"),
            cpu_pressure: pressure("cpu.pressure"),
            memory_pressure: pressure("memory.pressure"),
            io_pressure: pressure("io.pressure"),
        }
    }
}

fn both<T>(one: Option<T>, other: Option<T>, join: impl Fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(join(one, other)),
        (one, other) => one.or(other),
    }
}

/// The value of a key in a "flat keyed" file: one `KEY VALUE` a line.
fn value(table: &str, key: &str) -> Option<u64> {
    table.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// The sum of a key's values in a "nested keyed" file: `NAME KEY=VALUE…`.
fn sum(table: &str, key: &str) -> u64 {
    let pairs = table.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    let values = pairs.filter(|(name, _)| *name == key).filter_map(|(_, value)| value.parse().ok());
    values.fold(0, u64::saturating_add)
}

/// `avg10` of the line `some` (kernel doc, "PSI").
fn some_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split(' ').find_map(|word| word.strip_prefix("avg10=")?.parse().ok())
}

/// Bytes received and sent over all interfaces but the loopback, of
/// `/proc/PID/net/dev`: two lines of titles, then `NAME:` and sixteen numbers,
/// of which the first are bytes received and the ninth bytes sent.
pub(super) fn network(table: &str) -> (u64, u64) {
    let mut sums = (0u64, 0u64);
    for line in table.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let numbers: Vec<u64> =
            numbers.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let (false, [received, _, _, _, _, _, _, _, sent, ..]) =
            (name.trim() == "lo", numbers.as_slice())
        {
            sums = (sums.0.saturating_add(*received), sums.1.saturating_add(*sent));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Option<String> {
        let text = match name {
            "cpu.stat" => "usage_usec 30\nuser_usec 20\nsystem_usec 10\nthrottled_usec 7\n",
            "memory.current" => "4096\n",
            "memory.events" => "low 0\noom 2\noom_kill 1\noom_group_kill 0\n",
            "io.stat" => "254:0 rbytes=10 wbytes=20 rios=1\n254:16 rbytes=5 wbytes=1 rios=1\n",
            "cpu.pressure" => {
                "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\nfull avg10=0.00 total=0\n"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn files_are_read_as_the_kernel_writes_them() {
        let usage = Usage::read(file);
        assert_eq!(usage.user, Duration::from_micros(20));
        assert_eq!(usage.throttled, Some(Duration::from_micros(7)));
        assert_eq!((usage.memory, usage.memory_peak, usage.kills), (Some(4096), None, Some(1)));
        assert_eq!((usage.read, usage.written), (Some(15), Some(21)));
        assert_eq!((usage.cpu_pressure, usage.io_pressure), (Some(1.5), None));
        assert_eq!(Usage::read(|_| None), Usage::default());
        assert_eq!(Usage::read(|_| Some("x\n\u{0} y".into())).memory, None);
    }

    #[test]
    fn cgroups_are_added_up() {
        let mut sum = Usage::default();
        sum.add(&Usage::read(file));
        assert_eq!(sum, Usage::read(file));
        sum.add(&Usage::read(file));
        assert_eq!(sum.system, Duration::from_micros(20));
        assert_eq!((sum.memory, sum.written), (Some(8192), Some(42)));
        assert_eq!(sum.cpu_pressure, Some(1.5));
    }

    #[test]
    fn the_loopback_is_nobodys_traffic() {
        let table = "Inter-|   Receive | Transmit\n face |bytes packets|bytes packets\n\
                     \x20   lo: 99 1 0 0 0 0 0 0 99 1 0 0 0 0 0 0\n\
                     \x20 eth0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n\
                     eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n  bad: 1\n";
        assert_eq!(network(table), (11, 22));
        assert_eq!(network(""), (0, 0));
    }
}
