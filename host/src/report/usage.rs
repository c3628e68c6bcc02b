//! `vserver usage`: what guests have used in a period.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::stat::size;
use super::{seconds, status, table};
use crate::accounting::Sums;

/// What one guest has used.
#[derive(Clone, Debug)]
pub struct Used {
    /// Its name.
    pub name: String,
    /// How much.
    pub sums: Sums,
}

/// The form that scripts depend on: fields are added, never changed.
#[derive(Serialize)]
struct Object<'u> {
    name: &'u str,
    uptime_seconds: f64,
    boots: u64,
    crashes: u64,
    user_seconds: f64,
    system_seconds: f64,
    memory_gib_hours: f64,
    read_bytes: u64,
    written_bytes: u64,
    received_bytes: u64,
    sent_bytes: u64,
    received_ipv6_bytes: u64,
    sent_ipv6_bytes: u64,
    memory_kills: u64,
    processes_started: u64,
}

impl<'u> From<&'u Used> for Object<'u> {
    fn from(used: &'u Used) -> Self {
        let Sums { up_ms, memory_mib_ms, boots, crashes, counters } = used.sums;
        let of_micros = |micros| seconds(Duration::from_micros(micros));
        Self {
            name: &used.name,
            uptime_seconds: seconds(Duration::from_millis(up_ms)),
            boots,
            crashes,
            user_seconds: of_micros(counters.user_us),
            system_seconds: of_micros(counters.system_us),
            memory_gib_hours: memory_mib_ms as f64 / 1024.0 / 3_600_000.0,
            read_bytes: counters.read,
            written_bytes: counters.written,
            received_bytes: counters.received,
            sent_bytes: counters.sent,
            received_ipv6_bytes: counters.received_ipv6,
            sent_ipv6_bytes: counters.sent_ipv6,
            memory_kills: counters.kills,
            processes_started: counters.forks,
        }
    }
}

/// The table; empty when there is nothing.
pub fn text(all: &[Used]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let hours = |seconds: f64| format!("{:.2}h", seconds / 3600.0);
    let rows = all.iter().map(|used| {
        let object = Object::from(used);
        [
            object.name.to_owned(),
            hours(object.uptime_seconds),
            object.boots.to_string(),
            object.crashes.to_string(),
            object.processes_started.to_string(),
            format!("{:.2}s", object.user_seconds),
            format!("{:.2}s", object.system_seconds),
            format!("{:.3}", object.memory_gib_hours),
            size(object.read_bytes),
            size(object.written_bytes),
            size(object.received_bytes),
            size(object.sent_bytes),
        ]
    });
    let titles = [
        "NAME", "UPTIME", "BOOTS", "CRASHES", "STARTED", "USER", "SYSTEM", "GiB*h", "READ",
        "WRITTEN", "RECEIVED", "SENT",
    ];
    table(titles, rows)
}

/// `--json`: an array.
pub fn json(all: &[Used]) -> String {
    status::json(&all.iter().map(Object::from).collect::<Vec<_>>())
}

/// `--csv` (RFC 4180, with plain newlines): names and numbers need no quotes.
pub fn csv(all: &[Used]) -> String {
    let mut text = String::from(
        "name,uptime_seconds,boots,crashes,user_seconds,system_seconds,memory_gib_hours,\
         read_bytes,written_bytes,received_bytes,sent_bytes,memory_kills,\
         received_ipv6_bytes,sent_ipv6_bytes,processes_started\n",
    );
    for used in all {
        let o = Object::from(used);
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            o.name,
            o.uptime_seconds,
            o.boots,
            o.crashes,
            o.user_seconds,
            o.system_seconds,
            o.memory_gib_hours,
            o.read_bytes,
            o.written_bytes,
            o.received_bytes,
            o.sent_bytes,
            o.memory_kills,
            o.received_ipv6_bytes,
            o.sent_ipv6_bytes,
            o.processes_started
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::Counters;

    fn used() -> Vec<Used> {
        let counters = Counters {
            user_us: 1_500_000,
            system_us: 20_000,
            sent: 2048,
            sent_ipv6: 1024,
            forks: 300,
            ..Counters::default()
        };
        let sums = Sums {
            up_ms: 5_400_000,
            memory_mib_ms: 1024 * 3_600_000,
            boots: 2,
            crashes: 1,
            counters,
        };
        vec![Used { name: "web".into(), sums }]
    }

    #[test]
    fn all_forms_say_the_same() {
        let wanted = "\
NAME  UPTIME  BOOTS  CRASHES  STARTED  USER   SYSTEM  GiB*h  READ  WRITTEN  RECEIVED  SENT
web   1.50h   2      1        300      1.50s  0.02s   1.000  0     0        0         2K
";
        assert_eq!(text(&used()), wanted);
        assert!(csv(&used()).ends_with("\nweb,5400,2,1,1.5,0.02,1,0,0,0,2048,0,0,1024,300\n"));
        let json: serde_json::Value = serde_json::from_str(&json(&used())).unwrap();
        assert_eq!(json[0]["user_seconds"], 1.5);
        let titles = csv(&[]);
        for title in titles.trim().split(',') {
            assert!(json[0].get(title).is_some(), "{title}");
        }
        assert_eq!(text(&[]), "");
    }
}
