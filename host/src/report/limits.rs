//! `vserver limits`: what is configured, what is in force, and what is used.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::stat::size;
use super::{status, table};
use crate::config::Limits as Wanted;
use crate::plan::limits::{MEMORY, PROCESSES, SWAP};

/// Files of the cgroup with a guest's limits that are shown.
pub const FILES: [&str; 15] = [
    "memory.max",
    "memory.current",
    "memory.peak",
    "memory.high",
    "memory.swap.max",
    "memory.swap.current",
    "memory.swap.peak",
    "memory.events",
    "pids.max",
    "pids.current",
    "pids.peak",
    "cpu.max",
    "cpuset.cpus",
    "cpuset.cpus.effective",
    "io.max",
];

/// Files of the cgroup that is weighed against others that are shown.
pub const WEIGHTS: [&str; 3] = ["cpu.weight", "io.weight", "io.bfq.weight"];

/// How a guest that runs is limited.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// The text of those of [`FILES`] and [`WEIGHTS`] that there are.
    pub files: BTreeMap<&'static str, String>,
    /// The nice level that its processes were given.
    pub nice: Option<i32>,
    /// The hard limit on open files of that.
    pub open_files: Option<u64>,
    /// The most bytes that its files may take on the disk, 0 for no limit, and
    /// those that they take.
    pub disk: Option<(u64, u64)>,
    /// The same of inodes, where they are counted.
    pub inodes: Option<(u64, u64)>,
}

/// A limit, as JSON shows it: fields are added, never changed. Sizes are in
/// bytes; a value without limit is "max".
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    key: &'static str,
    configured: Value,
    default: Value,
    in_force: Value,
    #[serde(rename = "use")]
    used: Value,
    peak: Value,
    #[serde(skip)]
    is_size: bool,
}

/// All limits. `now` of a guest that is stopped is nothing.
pub fn rows(wanted: &Wanted, now: &Now) -> Vec<Row> {
    let text = |file: &str| now.files.get(file).map(|text| text.trim());
    let number = |file: &str| text(file).map_or(Value::Null, value);
    let row = |key, configured: Value, in_force: Value| Row {
        key,
        configured,
        default: Value::Null,
        in_force,
        used: Value::Null,
        peak: Value::Null,
        is_size: false,
    };
    let written = |value: Option<String>| value.map_or(Value::Null, |text| json!(text));
    let first = |file: &str| {
        let line = text(file).and_then(|text| text.lines().next());
        line.and_then(|line| line.split(' ').next_back()).map_or(Value::Null, value)
    };
    let traffic = text("io.max").filter(|text| !text.is_empty());
    let configured_traffic: Vec<String> = wanted.io_max.iter().map(ToString::to_string).collect();
    let weight = first("cpu.weight");
    // What cgroups around it leave of its processors.
    let processors_now = text("cpuset.cpus").filter(|set| !set.is_empty());
    let processors_now = processors_now.map(|set| text("cpuset.cpus.effective").unwrap_or(set));
    vec![
        Row {
            default: json!(MEMORY.to_string()),
            used: number("memory.current"),
            peak: number("memory.peak"),
            is_size: true,
            ..row("memory", written(string(wanted.memory)), number("memory.max"))
        },
        Row {
            is_size: true,
            ..row("memory_high", written(string(wanted.memory_high)), number("memory.high"))
        },
        Row {
            default: json!(SWAP.to_string()),
            used: number("memory.swap.current"),
            peak: number("memory.swap.peak"),
            is_size: true,
            ..row("swap", written(string(wanted.swap)), number("memory.swap.max"))
        },
        Row {
            default: json!(PROCESSES.to_string()),
            used: number("pids.current"),
            peak: number("pids.peak"),
            ..row("processes", written(string(wanted.processes)), number("pids.max"))
        },
        row("cpus", written(string(wanted.cpus)), text("cpu.max").map_or(Value::Null, processors)),
        row("cpu_weight", written(string(wanted.cpu_weight)), weight),
        row(
            "cpuset",
            written(string(wanted.cpuset.as_ref())),
            written(processors_now.map(str::to_owned)),
        ),
        row("nice", written(string(wanted.nice)), now.nice.map_or(Value::Null, Value::from)),
        row(
            "io_weight",
            written(string(wanted.io_weight)),
            match first("io.bfq.weight") {
                Value::Null => first("io.weight"),
                other => other,
            },
        ),
        row(
            "io_max",
            written(Some(configured_traffic.join(", ")).filter(|text| !text.is_empty())),
            written(traffic.map(|text| text.lines().collect::<Vec<_>>().join(", "))),
        ),
        Row {
            used: now.disk.map_or(Value::Null, |(_, used)| json!(used)),
            is_size: true,
            ..row("disk", written(string(wanted.disk)), most(now.disk))
        },
        Row {
            used: now.inodes.map_or(Value::Null, |(_, used)| json!(used)),
            ..row("inodes", written(string(wanted.inodes)), most(now.inodes))
        },
        row(
            "files",
            written(string(wanted.files)),
            now.open_files.map_or(Value::Null, Value::from),
        ),
    ]
}

/// A limit of the disk and what is used; 0 is none.
fn most(held: Option<(u64, u64)>) -> Value {
    held.map_or(Value::Null, |(limit, _)| if limit == 0 { json!("max") } else { json!(limit) })
}

fn string(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// A number where it is one.
fn value(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), Value::from)
}

/// Processors, of the text of `cpu.max`: a quota of microseconds, or "max",
/// and the period.
fn processors(text: &str) -> Value {
    let (quota, period) = text.split_once(' ').unwrap_or((text, ""));
    match (quota.parse::<f64>(), period.parse::<f64>()) {
        (Ok(quota), Ok(period)) if period > 0.0 => json!(quota / period),
        _ => json!(quota),
    }
}

/// Processes that were killed for want of memory, of `memory.events`.
pub fn kills(now: &Now) -> Option<u64> {
    let events = now.files.get("memory.events")?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// The table.
pub fn text(rows: &[Row], now: &Now) -> String {
    let lines = rows.iter().map(|row| {
        let shown = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::Number(number) if row.is_size => number.as_u64().map_or(String::new(), size),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let configured = match (&row.configured, &row.default) {
            (Value::Null, Value::String(default)) => format!("({default})"),
            (configured, _) => shown(configured),
        };
        [row.key.to_owned(), configured, shown(&row.in_force), shown(&row.used), shown(&row.peak)]
    });
    let table = table(["LIMIT", "CONFIGURED", "IN FORCE", "USE", "PEAK"], lines);
    match kills(now) {
        Some(kills) if kills > 0 => {
            format!("{table}\nKilled for want of memory in this boot: {kills}\n")
        }
        _ => table,
    }
}

/// `--json`: an object.
pub fn json_text(name: &str, rows: &[Row], now: &Now) -> String {
    status::json(&json!({
        "name": name,
        "limits": rows,
        "memory_kills": kills(now),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Now {
        let files = [
            ("memory.max", "536870912\n"),
            ("memory.current", "1048576\n"),
            ("memory.events", "oom 3\noom_kill 2\noom_group_kill 0\n"),
            ("memory.swap.max", "max\n"),
            ("pids.max", "8000\n"),
            ("pids.current", "7\n"),
            ("cpu.max", "150000 100000\n"),
            ("cpuset.cpus", "\n"),
            ("io.weight", "default 50\n"),
            ("io.max", "8:0 rbps=1 wbps=max riops=max wiops=max\n"),
        ];
        Now {
            files: files.map(|(file, text)| (file, text.to_owned())).into(),
            nice: Some(0),
            open_files: Some(4096),
            disk: Some((0, 4096)),
            inodes: Some((10_000, 412)),
        }
    }

    #[test]
    fn configured_in_force_and_used_stand_side_by_side() {
        let config = crate::config::parse::parse("limits = { memory = \"512M\", cpus = 1.5 }");
        let wanted = config.unwrap().limits;
        let shown = text(&rows(&wanted, &running()), &running());
        let line = |key: &str| {
            let line = shown.lines().find(|line| line.split(' ').next() == Some(key));
            line.expect(key).split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("processes"), "(8000) 8000 7 -");
        assert_eq!(line("swap"), "(50%) max - -");
        assert_eq!(line("cpus"), "1.5 1.5 - -");
        assert_eq!(line("io_weight"), "- 50 - -");
        assert_eq!(line("cpuset"), "- - - -");
        assert_eq!(line("inodes"), "- 10000 412 -");
        assert!(line("memory").starts_with("512M "), "{shown}");
        assert!(shown.ends_with("Killed for want of memory in this boot: 2\n"), "{shown}");
        let json: Value =
            serde_json::from_str(&json_text("web", &rows(&wanted, &running()), &running()))
                .unwrap();
        assert_eq!(json["limits"][0]["in_force"], 536_870_912);
        assert_eq!(json["limits"][0]["use"], 1_048_576);
        assert_eq!(json["memory_kills"], 2);
    }

    #[test]
    fn processors_in_force_are_those_that_it_has() {
        let shown = |set: &str, effective: &str| {
            let mut now = running();
            now.files.insert("cpuset.cpus", set.to_owned());
            now.files.insert("cpuset.cpus.effective", effective.to_owned());
            let rows = rows(&Wanted::default(), &now);
            let row = rows.into_iter().find(|row| row.key == "cpuset").expect("it is shown");
            row.in_force
        };
        assert_eq!(shown("0-3\n", "0-1\n"), "0-1");
        assert_eq!(shown("\n", "0-3\n"), Value::Null);
    }

    #[test]
    fn a_stopped_guest_has_only_a_configuration() {
        let shown = text(&rows(&Wanted::default(), &Now::default()), &Now::default());
        assert!(shown.contains("memory       (80%)       -         -    -\n"), "{shown}");
    }
}
