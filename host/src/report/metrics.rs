//! `vserver metrics`: what guests use and have used, in OpenMetrics' text
//! format (OpenMetrics 1.0, prometheus.io/docs/specs/om), names and units by the
//! conventions of Prometheus: base units, the unit in the name, `_total` for
//! what only grows. Who reads files reads an older format ([`for_textfile`]).

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::seconds;
use crate::accounting::{Account, Sums};

/// What is known of one guest.
#[derive(Clone, Debug, Default)]
pub struct Metered {
    /// Its name.
    pub name: String,
    /// What it uses now, if it runs.
    pub account: Option<Account>,
    /// What it has used since its account was opened.
    pub total: Sums,
}

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter<f64, AtomicU64>>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// A figure that only grows: name, help, unit, and what it is for a guest,
/// with the value of a second label where there are several.
struct Growing {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    label: &'static str,
    values: fn(&Sums) -> Vec<(&'static str, f64)>,
}

/// A figure of this moment, for guests that run and where the host counts it.
struct Present {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    value: fn(&Account) -> Option<f64>,
}

fn growing() -> [Growing; 10] {
    [
        Growing {
            name: "cpu",
            help: "Time on processors",
            unit: Some(Unit::Seconds),
            label: "mode",
            values: |sums| {
                let time = |micros| seconds(Duration::from_micros(micros));
                let counters = &sums.counters;
                vec![("user", time(counters.user_us)), ("system", time(counters.system_us))]
            },
        },
        Growing {
            name: "memory_byte_seconds",
            help: "Memory over time, sampled every 30 seconds",
            unit: None,
            label: "",
            values: |sums| {
                let mib_seconds = sums.memory_mib_ms as f64 / 1000.0;
                vec![("", mib_seconds * 1024.0 * 1024.0)]
            },
        },
        Growing {
            name: "block_io",
            help: "Bytes read from and written to block devices",
            unit: Some(Unit::Bytes),
            label: "direction",
            values: |sums| {
                let counters = &sums.counters;
                vec![("read", counters.read as f64), ("written", counters.written as f64)]
            },
        },
        Growing {
            name: "network",
            help: "Bytes over interfaces but the loopback",
            unit: Some(Unit::Bytes),
            label: "direction",
            values: |sums| {
                let counters = &sums.counters;
                vec![("received", counters.received as f64), ("sent", counters.sent as f64)]
            },
        },
        Growing {
            name: "network_ipv6",
            help: "What of them was IPv6",
            unit: Some(Unit::Bytes),
            label: "direction",
            values: |sums| {
                let bytes = sums.counters.traffic();
                vec![("received", bytes.received_ipv6 as f64), ("sent", bytes.sent_ipv6 as f64)]
            },
        },
        Growing {
            name: "up",
            help: "Time for which it was up, all boots together",
            unit: Some(Unit::Seconds),
            label: "",
            values: |sums| vec![("", seconds(Duration::from_millis(sums.up_ms)))],
        },
        Growing {
            name: "memory_kills",
            help: "Processes that were killed for want of memory",
            unit: None,
            label: "",
            values: |sums| vec![("", sums.counters.kills as f64)],
        },
        Growing {
            name: "processes_started",
            help: "Processes that were made in it",
            unit: None,
            label: "",
            values: |sums| vec![("", sums.counters.forks as f64)],
        },
        Growing {
            name: "boots",
            help: "How often it was booted",
            unit: None,
            label: "",
            values: |sums| vec![("", sums.boots as f64)],
        },
        Growing {
            name: "crashes",
            help: "How often it crashed",
            unit: None,
            label: "",
            values: |sums| vec![("", sums.crashes as f64)],
        },
    ]
}

fn present() -> [Present; 10] {
    let bytes = || Some(Unit::Bytes);
    let ratio = || Some(Unit::Other("ratio".into()));
    [
        Present {
            name: "processes",
            help: "Processes it has",
            unit: None,
            value: |account| Some(account.processes.number as f64),
        },
        Present {
            name: "uptime",
            help: "Since its first process was started",
            unit: Some(Unit::Seconds),
            value: |account| Some(seconds(account.uptime)),
        },
        Present {
            name: "resident_memory",
            help: "Resident memory, summed over its processes",
            unit: bytes(),
            value: |account| Some(account.processes.resident_bytes as f64),
        },
        Present {
            name: "virtual_memory",
            help: "Virtual memory, summed over its processes",
            unit: bytes(),
            value: |account| Some(account.processes.virtual_bytes as f64),
        },
        Present {
            name: "memory",
            help: "Memory that the kernel counts for it (memory.current)",
            unit: bytes(),
            value: |account| account.usage.memory.map(|bytes| bytes as f64),
        },
        Present {
            name: "memory_peak",
            help: "The most of it since this boot (memory.peak)",
            unit: bytes(),
            value: |account| account.usage.memory_peak.map(|bytes| bytes as f64),
        },
        Present {
            name: "swap",
            help: "Swap that it uses (memory.swap.current)",
            unit: bytes(),
            value: |account| account.usage.swap.map(|bytes| bytes as f64),
        },
        Present {
            name: "cpu_pressure",
            help: "Part of the last 10 seconds in which some of it waited for a processor",
            unit: ratio(),
            value: |account| account.usage.cpu_pressure.map(|percent| percent / 100.0),
        },
        Present {
            name: "memory_pressure",
            help: "Part of the last 10 seconds in which some of it waited for memory",
            unit: ratio(),
            value: |account| account.usage.memory_pressure.map(|percent| percent / 100.0),
        },
        Present {
            name: "io_pressure",
            help: "Part of the last 10 seconds in which some of it waited for block devices",
            unit: ratio(),
            value: |account| account.usage.io_pressure.map(|percent| percent / 100.0),
        },
    ]
}

/// All of it as text, whose last line says that it is whole.
pub fn text(guests: &[Metered]) -> String {
    let mut registry = Registry::with_prefix("vserver_guest");
    let running = Gauges::default();
    for guest in guests {
        let value = if guest.account.is_some() { 1.0 } else { 0.0 };
        running.get_or_create(&labels(guest, "", "")).set(value);
    }
    registry.register("running", "Is it running: 1 or 0", running);
    for figure in growing() {
        let family = Counters::default();
        for guest in guests {
            for (which, value) in (figure.values)(&guest.total) {
                family.get_or_create(&labels(guest, figure.label, which)).inc_by(value);
            }
        }
        match figure.unit {
            Some(unit) => registry.register_with_unit(figure.name, figure.help, unit, family),
            None => registry.register(figure.name, figure.help, family),
        }
    }
    for figure in present() {
        let family = Gauges::default();
        for guest in guests {
            if let Some(value) = guest.account.as_ref().and_then(figure.value) {
                family.get_or_create(&labels(guest, "", "")).set(value);
            }
        }
        match figure.unit {
            Some(unit) => registry.register_with_unit(figure.name, figure.help, unit, family),
            None => registry.register(figure.name, figure.help, family),
        }
    }
    let mut all = String::new();
    // Writing to a string doesn't fail.
    let _ = text::encode(&mut all, &registry);
    all
}

/// The same in Prometheus's own text format (0.0.4, prometheus.io/docs/instrumenting/
/// exposition_formats), for node_exporter's textfile collector: there a counter is
/// declared by the whole name of its samples, or it is of no type; units and the
/// end aren't told.
pub fn for_textfile(openmetrics: &str) -> String {
    let counters: Vec<&str> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let line = |line: &str| {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), ..) => String::new(),
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest))
                if counters.contains(&name) =>
            {
                format!("# {what} {name}_total {rest}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    openmetrics.lines().map(line).collect()
}

fn labels(guest: &Metered, label: &'static str, value: &str) -> Labels {
    let mut labels = vec![("guest", guest.name.clone())];
    if !label.is_empty() {
        labels.push((label, value.to_owned()));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::{Counters, NOTES};
    use crate::report::usage;

    #[test]
    fn names_have_units_and_guests_are_labels() {
        let counters = Counters { user_us: 1_500_000, sent: 2048, ..Counters::default() };
        let total = Sums { boots: 3, up_ms: 5000, counters, ..Sums::default() };
        let mut account = Account { uptime: Duration::from_secs(7), ..Account::default() };
        account.usage.memory = Some(4096);
        account.usage.cpu_pressure = Some(25.0);
        let running = Metered { name: "web".into(), account: Some(account), total };
        let stopped = Metered { name: "db".into(), ..Metered::default() };
        let text = text(&[running, stopped]);
        for line in [
            "# TYPE vserver_guest_cpu_seconds counter",
            &format!(
                "# HELP vserver_guest_memory_byte_seconds Memory over time, sampled every {} \
                 seconds.",
                NOTES.as_secs()
            ),
            "# UNIT vserver_guest_cpu_seconds seconds",
            "vserver_guest_cpu_seconds_total{guest=\"web\",mode=\"user\"} 1.5",
            "vserver_guest_network_bytes_total{guest=\"web\",direction=\"sent\"} 2048.0",
            "vserver_guest_boots_total{guest=\"web\"} 3.0",
            "vserver_guest_boots_total{guest=\"db\"} 0.0",
            "vserver_guest_running{guest=\"web\"} 1.0",
            "vserver_guest_running{guest=\"db\"} 0.0",
            "vserver_guest_memory_bytes{guest=\"web\"} 4096.0",
            "vserver_guest_uptime_seconds{guest=\"web\"} 7.0",
            "vserver_guest_cpu_pressure_ratio{guest=\"web\"} 0.25",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(!text.contains("uptime_seconds{guest=\"db\"}"), "{text}");
        // Not counted on this host.
        assert!(!text.contains("swap_bytes{"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn in_a_file_counters_are_declared_by_their_whole_names() {
        let counters = Counters { user_us: 1_500_000, ..Counters::default() };
        let total = Sums { boots: 3, counters, ..Sums::default() };
        let whole = text(&[Metered { name: "web".into(), total, ..Metered::default() }]);
        let file = for_textfile(&whole);
        for line in [
            "# HELP vserver_guest_boots_total How often it was booted.",
            "# TYPE vserver_guest_boots_total counter",
            "# TYPE vserver_guest_cpu_seconds_total counter",
            "# TYPE vserver_guest_running gauge",
        ] {
            assert!(file.lines().any(|other| other == line), "{line}\n{file}");
        }
        let samples = |text: &str| {
            let is_sample = |line: &&str| !line.starts_with('#');
            text.lines().filter(is_sample).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(samples(&file), samples(&whole));
        assert!(whole.contains("# UNIT ") && whole.ends_with("# EOF\n"), "{whole}");
        assert!(!file.contains("# UNIT ") && !file.contains("# EOF"), "{file}");
    }

    /// Whatever an account keeps is told here and by `vserver usage`, whose
    /// units are others.
    #[test]
    fn nothing_of_an_account_is_left_out() {
        let Ok(serde_json::Value::Object(all)) = serde_json::to_value(Sums::default()) else {
            panic!("an account is an object")
        };
        for figure in all.keys() {
            let with = |value: u64| {
                let mut all = all.clone();
                all.insert(figure.clone(), value.into());
                serde_json::from_value(all.into()).expect("it is an account")
            };
            let told = |total: Sums| {
                let metered = Metered { name: "web".into(), total, ..Metered::default() };
                let used = [usage::Used { name: "web".into(), sums: total }];
                [text(&[metered]), usage::json(&used), usage::csv(&used)]
            };
            for (none, some) in told(with(0)).iter().zip(told(with(3_000_000))) {
                assert_ne!(*none, some, "{figure}");
            }
        }
    }
}
