//! `vserver stat`: what contexts use, as util-vserver's vserver-stat shows it
//! (its src/vserver-stat.c), and more columns.

use std::cmp::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::{micros, printable, seconds, status};
use crate::accounting::Account;

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// The context's number; it may be unknown to this user.
    pub context: Option<u32>,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// What it uses.
    pub account: Account,
}

/// A figure of one column.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Number(u64),
    Bytes(u64),
    Time(Duration),
    Percent(f64),
}

/// A column of figures.
#[derive(Debug)]
pub struct Column {
    /// What `--columns` and `--sort` call it.
    key: &'static str,
    title: &'static str,
    width: usize,
    figure: fn(&Account) -> Option<Figure>,
}

impl Column {
    /// Its title.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// How wide it is, with the space in front of it.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What it says of a context: '-' where that isn't known.
    pub fn cell(&self, account: &Account) -> String {
        (self.figure)(account).map_or_else(|| "-".to_owned(), Figure::shown)
    }
}

const fn column(
    key: &'static str,
    title: &'static str,
    width: usize,
    figure: fn(&Account) -> Option<Figure>,
) -> Column {
    Column { key, title, width, figure }
}

/// All columns; the first ones are always shown.
static COLUMNS: [Column; 19] = [
    column("proc", "PROC", 5, |a| Some(Figure::Number(a.processes.number))),
    column("vsz", "VSZ", 7, |a| Some(Figure::Bytes(a.processes.virtual_bytes))),
    column("rss", "RSS", 7, |a| Some(Figure::Bytes(a.processes.resident_bytes))),
    column("user", "userTIME", 10, |a| Some(Figure::Time(a.user))),
    column("sys", "sysTIME", 10, |a| Some(Figure::Time(a.system))),
    column("uptime", "UPTIME", 10, |a| Some(Figure::Time(a.uptime))),
    column("memory", "MEMORY", 8, |a| a.usage.memory.map(Figure::Bytes)),
    column("peak", "PEAK", 8, |a| a.usage.memory_peak.map(Figure::Bytes)),
    column("swap", "SWAP", 8, |a| a.usage.swap.map(Figure::Bytes)),
    column("read", "READ", 8, |a| a.usage.read.map(Figure::Bytes)),
    column("written", "WRITTEN", 8, |a| a.usage.written.map(Figure::Bytes)),
    column("received", "RECEIVED", 9, |a| a.network.map(|(bytes, _)| Figure::Bytes(bytes))),
    column("sent", "SENT", 8, |a| a.network.map(|(_, bytes)| Figure::Bytes(bytes))),
    column("throttled", "THROTTLED", 10, |a| a.usage.throttled.map(Figure::Time)),
    column("kills", "KILLS", 6, |a| a.usage.kills.map(Figure::Number)),
    column("cpu-pressure", "CPU%", 7, |a| a.usage.cpu_pressure.map(Figure::Percent)),
    column("memory-pressure", "MEM%", 7, |a| a.usage.memory_pressure.map(Figure::Percent)),
    column("io-pressure", "IO%", 7, |a| a.usage.io_pressure.map(Figure::Percent)),
    column("cpu", "CPUTIME", 10, |a| Some(Figure::Time(a.user + a.system))),
];

/// How many of them are util-vserver's.
const ALWAYS: usize = 6;

/// Longest name that is shown.
const NAME: usize = 20;

/// What `--columns` takes.
pub fn more_columns() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().skip(ALWAYS).map(|column| column.key)
}

/// The column of a key.
pub fn column_of(key: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.key == key)
}

/// What `--sort` takes.
pub fn sort_keys() -> impl Iterator<Item = &'static str> {
    ["ctx", "name"].into_iter().chain(COLUMNS.iter().map(|column| column.key))
}

/// Sorts by a key: numbers of contexts and names upwards, everything else
/// from the most down. An unknown key is the context's number.
pub fn sort(lines: &mut [Line], key: &str) {
    let number = |line: &Line| line.context.unwrap_or(u32::MAX);
    lines.sort_by(|one, other| (number(one), &one.name).cmp(&(number(other), &other.name)));
    if key == "name" {
        lines.sort_by(|one, other| one.name.cmp(&other.name));
    } else if let Some(column) = column_of(key) {
        let figure = |line: &Line| (column.figure)(&line.account).map(Figure::size);
        lines.sort_by(|one, other| {
            figure(other).partial_cmp(&figure(one)).unwrap_or(Ordering::Equal)
        });
    }
}

/// The table. With `described`, descriptions stand behind the names if there
/// is any.
pub fn text(lines: &[Line], more: &[String], described: bool) -> String {
    let extra = COLUMNS.iter().skip(ALWAYS);
    let extra = extra.filter(|column| more.iter().any(|key| key == column.key));
    let columns: Vec<&Column> = COLUMNS.iter().take(ALWAYS).chain(extra).collect();
    let described = described && lines.iter().any(|line| !line.description.is_empty());

    let mut text = String::from("CTX  ");
    for column in &columns {
        text += &format!("{:>1$}", column.title, column.width);
    }
    let names = lines.iter().map(|line| short(&line.name).chars().count()).max().unwrap_or(0);
    text += match described {
        true => format!(" {:<names$} DESCRIPTION", "NAME"),
        false => " NAME".to_owned(),
    }
    .as_str();
    text.push('\n');
    for line in lines {
        let number = line.context.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let mut row = format!("{number:<5}");
        for column in &columns {
            // One that is too long keeps its distance.
            row += &format!(" {:>1$}", column.cell(&line.account), column.width - 1);
        }
        row.push(' ');
        row += &match described {
            true => format!("{:<names$} {}", short(&line.name), printable(&line.description)),
            false => short(&line.name),
        };
        text += row.trim_end();
        text.push('\n');
    }
    text
}

fn short(name: &str) -> String {
    printable(name).chars().take(NAME).collect()
}

impl Figure {
    /// For sorting.
    fn size(self) -> f64 {
        match self {
            Self::Number(number) | Self::Bytes(number) => number as f64,
            Self::Time(time) => time.as_secs_f64(),
            Self::Percent(percent) => percent,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => size(bytes),
            Self::Time(time) => duration(time),
            Self::Percent(percent) => format!("{percent:.1}"),
        }
    }
}

/// util-vserver's form of a size: the next unit from 1000 on, in steps of
/// 1024, with one decimal, cut off, that is left out when it is 0.
pub fn size(bytes: u64) -> String {
    let mut unit: u128 = 1;
    let mut units = ["", "K", "M", "G", "T", "P", "E"].iter();
    let mut name = units.next();
    let bytes = u128::from(bytes);
    while bytes / unit >= 1000 {
        let Some(next) = units.next() else { break };
        name = Some(next);
        unit *= 1024;
    }
    let name = name.copied().unwrap_or_default();
    match (bytes / unit, bytes * 10 / unit % 10) {
        (whole, 0) => format!("{whole}{name}"),
        (whole, tenth) => format!("{whole}.{tenth}{name}"),
    }
}

/// util-vserver's form of a time: minutes, seconds and hundredths; from an
/// hour, a day and a year on the next greater units. (Its hundredths were the
/// first two digits of the milliseconds.)
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let hundredths = time.subsec_millis() / 10;
    match (hours, days, days / 365) {
        (0, ..) => format!("{minutes}m{:02}s{hundredths:02}", seconds % 60),
        (_, 0, _) => format!("{hours}h{:02}m{:02}", minutes % 60, seconds % 60),
        (_, _, 0) => format!("{days}d{:02}h{:02}", hours % 24, minutes % 60),
        (_, _, years) => format!("{years}y{:02}d{:02}", days % 365, hours % 24),
    }
}

/// The form that scripts depend on: fields are added, never changed.
#[derive(Serialize)]
struct Object<'l> {
    context: Option<u32>,
    name: &'l str,
    description: &'l str,
    processes: u64,
    vsz_bytes: u64,
    rss_bytes: u64,
    user_usec: u64,
    system_usec: u64,
    rx_bytes: Option<u64>,
    tx_bytes: Option<u64>,
    io_read_bytes: Option<u64>,
    io_write_bytes: Option<u64>,
    virtual_bytes: u64,
    resident_bytes: u64,
    user_seconds: f64,
    system_seconds: f64,
    uptime_seconds: f64,
    memory_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
    swap_bytes: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    received_bytes: Option<u64>,
    sent_bytes: Option<u64>,
    throttled_seconds: Option<f64>,
    memory_kills: Option<u64>,
    cpu_pressure_percent: Option<f64>,
    memory_pressure_percent: Option<f64>,
    io_pressure_percent: Option<f64>,
}

/// `--json`: an array of all figures; what isn't known is null. Some are there by two
/// names, the short ones of the kernel and of util-vserver, and those of the columns.
pub fn json(lines: &[Line]) -> String {
    let objects = lines.iter().map(|line| {
        let Account { processes, usage, user, system, uptime, network } = line.account;
        let (received, sent) = network.unzip();
        Object {
            context: line.context,
            name: &line.name,
            description: &line.description,
            processes: processes.number,
            vsz_bytes: processes.virtual_bytes,
            rss_bytes: processes.resident_bytes,
            user_usec: micros(user),
            system_usec: micros(system),
            rx_bytes: received,
            tx_bytes: sent,
            io_read_bytes: usage.read,
            io_write_bytes: usage.written,
            virtual_bytes: processes.virtual_bytes,
            resident_bytes: processes.resident_bytes,
            user_seconds: seconds(user),
            system_seconds: seconds(system),
            uptime_seconds: seconds(uptime),
            memory_bytes: usage.memory,
            memory_peak_bytes: usage.memory_peak,
            swap_bytes: usage.swap,
            read_bytes: usage.read,
            written_bytes: usage.written,
            received_bytes: received,
            sent_bytes: sent,
            throttled_seconds: usage.throttled.map(seconds),
            memory_kills: usage.kills,
            cpu_pressure_percent: usage.cpu_pressure,
            memory_pressure_percent: usage.memory_pressure,
            io_pressure_percent: usage.io_pressure,
        }
    });
    status::json(&objects.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::{Processes, Usage};
    use proptest::prelude::*;

    fn line(context: u32, name: &str, processes: u64) -> Line {
        let millis = Duration::from_millis;
        Line {
            context: Some(context),
            name: name.into(),
            description: String::new(),
            account: Account {
                processes: Processes {
                    number: processes,
                    virtual_bytes: 284_426_240,
                    resident_bytes: 21 << 20,
                    ..Processes::default()
                },
                user: millis(42_670),
                system: millis(15_089),
                uptime: millis(1000 * (3 * 86_400 + 4 * 3600 + 16 * 60)),
                usage: Usage { memory: Some(30 << 20), ..Usage::default() },
                network: None,
            },
        }
    }

    #[test]
    fn the_layout_is_util_vservers() {
        let wanted = "\
CTX   PROC    VSZ    RSS  userTIME   sysTIME    UPTIME NAME
40001   12 271.2M    21M   0m42s67   0m15s08   3d04h16 web1
";
        assert_eq!(text(&[line(40_001, "web1", 12)], &[], true), wanted);
        let long = text(&[line(7, "a-name-of-more-than-twenty-letters", 1_234_567)], &[], false);
        assert!(
            long.ends_with(
                "7     1234567 271.2M    21M   0m42s67   0m15s08   3d04h16 a-name-of-more-than-\n"
            ),
            "{long}"
        );
    }

    #[test]
    fn columns_are_added_before_the_name_and_descriptions_behind() {
        let mut web = line(40_001, "web1", 12);
        web.description = "a shop\x1b[2J".into();
        let wanted = "\
CTX   PROC    VSZ    RSS  userTIME   sysTIME    UPTIME  MEMORY    SWAP NAME DESCRIPTION
40001   12 271.2M    21M   0m42s67   0m15s08   3d04h16     30M       - web1 a shop\\x1b[2J
40002    1 271.2M    21M   0m42s67   0m15s08   3d04h16     30M       - db
";
        let more = ["swap".to_owned(), "memory".to_owned()];
        assert_eq!(text(&[web.clone(), line(40_002, "db", 1)], &more, true), wanted);
        assert!(!text(&[web], &more, false).contains("shop"));
    }

    #[test]
    fn sizes_and_times_are_util_vservers() {
        for (bytes, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "0.9K"),
            (1024, "1K"),
            (1_048_576, "1M"),
            (1_048_575, "1023.9K".replace("1023.9K", "0.9M").as_str()),
            (u64::MAX, "15.9E"),
        ] {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
        for (seconds, shown) in [
            (0.0, "0m00s00"),
            (62.05, "1m02s05"),
            (3599.99, "59m59s99"),
            (3600.0, "1h00m00"),
            (86_400.0, "1d00h00"),
            (365.0 * 86_400.0, "1y00d00"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), shown);
        }
    }

    #[test]
    fn lines_are_sorted_by_any_column() {
        let mut lines = vec![line(3, "b", 1), line(2, "c", 2), line(1, "a", 1)];
        let mut order = |key: &str| {
            sort(&mut lines, key);
            lines.iter().map(|line| line.name.as_str()).collect::<String>()
        };
        assert_eq!(order("ctx"), "acb");
        assert_eq!(order("name"), "abc");
        assert_eq!(order("proc"), "cab");
        assert_eq!(order("swap"), "acb");
    }

    #[test]
    fn json_has_every_figure() {
        let mut web = line(40_001, "web1", 12);
        web.account.system = Duration::from_micros(57_284_910);
        (web.account.usage.read, web.account.usage.written) = (Some(4096), Some(512));
        let text = json(&[web.clone()]);
        // Not "57.284909999999996".
        assert!(text.contains("\"system_seconds\": 57.28491,"), "{text}");
        let json_of = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let rows = json_of(&text);
        let row = &rows[0];
        assert_eq!(row["processes"], 12);
        assert_eq!(row["user_seconds"], 42.67);
        assert_eq!(row["memory_bytes"], 30 << 20);
        assert!(row["swap_bytes"].is_null());
        // By their other names.
        assert_eq!(
            (&row["user_usec"], &row["system_usec"]),
            (&42_670_000.into(), &57_284_910.into())
        );
        for (short, long) in [
            ("vsz_bytes", "virtual_bytes"),
            ("rss_bytes", "resident_bytes"),
            ("io_read_bytes", "read_bytes"),
            ("io_write_bytes", "written_bytes"),
        ] {
            assert!(row[short].is_u64() && row[short] == row[long], "{short}: {text}");
        }
        assert!(row["rx_bytes"].is_null() && row["tx_bytes"].is_null());
        web.account.network = Some((7, 8));
        let rows = json_of(&json(&[web]));
        assert_eq!((&rows[0]["rx_bytes"], &rows[0]["tx_bytes"]), (&7.into(), &8.into()));
        assert_eq!((&rows[0]["received_bytes"], &rows[0]["sent_bytes"]), (&7.into(), &8.into()));
    }

    proptest! {
        #[test]
        fn figures_fit_their_columns(bytes in any::<u64>(), millis in 0..100 * 365 * 86_400_000u64) {
            prop_assert!(size(bytes).len() <= 6);
            prop_assert!(duration(Duration::from_millis(millis)).len() <= 9);
        }
    }
}
