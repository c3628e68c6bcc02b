//! Arguments of what tells how much guests use.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use clap::builder::PossibleValuesParser;
use shared::name::GuestName;

use super::values;
use crate::report::stat;

/// `vserver stat` and `vserver-stat`.
#[derive(Clone, Debug, Args)]
pub struct StatArgs {
    /// Sort by a column: contexts' numbers and names upwards, everything else
    /// from the most down.
    #[arg(
        short = 'O',
        long,
        value_name = "COLUMN",
        default_value = "ctx",
        value_parser = PossibleValuesParser::new(stat::sort_keys()),
        hide_possible_values = true
    )]
    pub sort: String,
    /// Further columns, a list with commas: memory, peak, swap, read, written
    /// (block devices), received, sent (network), throttled, kills (for want
    /// of memory), cpu-pressure, memory-pressure, io-pressure (kernel doc,
    /// "PSI"), cpu. A '-' is not counted on this host.
    #[arg(
        long,
        value_name = "COLUMN",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(stat::more_columns()),
        hide_possible_values = true
    )]
    pub columns: Vec<String>,
    /// Again every 2 seconds, or as many as are given, until interrupted.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = pause
    )]
    pub watch: Option<Duration>,
    /// As JSON: an array of all figures, in bytes and seconds (docs/accounts.md).
    #[arg(long)]
    pub json: bool,
}

/// `vserver top`.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// Seconds between two looks, at least 0.1.
    #[arg(short = 'd', long, value_name = "SECONDS", default_value = "2", value_parser = pause)]
    pub interval: Duration,
}

/// `vserver metrics`.
#[derive(Clone, Debug, Args)]
pub struct MetricsArgs {
    /// Replace this file, whole, instead of printing: in Prometheus's text format
    /// 0.0.4, as node_exporter's textfile collector reads it. No link is followed.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `vserver usage`.
#[derive(Clone, Debug, Args)]
pub struct UsageArgs {
    /// Which guests; all, and those that were deleted, when none is named.
    #[arg(value_name = "NAME", value_parser = values::guest)]
    pub names: Vec<GuestName>,
    /// From then on: a date, with or without a time ("2026-11-01 12:00:00"),
    /// or so long ago ("7d").
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1970-01-01", hide_default_value = true)]
    pub since: u64,
    /// Until then.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "9999-12-31", hide_default_value = true)]
    pub until: u64,
    /// By the names of processes that have ended, for guests with
    /// accounting.processes.
    #[arg(long)]
    pub commands: bool,
    /// As JSON: an array, in bytes and seconds.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// As comma-separated values, with a line of titles.
    #[arg(long)]
    pub csv: bool,
}

/// A time of the day, in seconds since 1970.
fn time(text: &str) -> Result<u64, String> {
    let wrong = || "a time is written like '2026-11-01', '2026-11-01 12:00:00' or '7d'".to_owned();
    // A date alone is midnight.
    let whole =
        if text.len() == "2026-11-01".len() { format!("{text} 00:00:00") } else { text.into() };
    let time = humantime::parse_rfc3339_weak(&whole).or_else(|_| {
        let ago = humantime::parse_duration(text).map_err(|_| wrong())?;
        SystemTime::now().checked_sub(ago).ok_or_else(wrong)
    })?;
    Ok(time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()))
}

/// A pause between two tables. Without one, all there would be is reading.
fn pause(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(100);
    match values::duration(text)? {
        pause if pause < LEAST => Err("the shortest pause is 0.1 seconds".to_owned()),
        pause => Ok(pause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_durations() {
        assert_eq!(time("1970-01-02"), Ok(86_400));
        assert_eq!(time("1970-01-01 01:00:00"), Ok(3600));
        assert_eq!(time("1970-01-01T01:00:00Z"), Ok(3600));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((now - 3601..=now - 3599).contains(&time("1h").unwrap()));
        for wrong in ["", "yesterday", "2026-13-01", "-1"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
