//! Arguments of what tells how much guests use.

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

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
    /// As JSON: an array of all figures, in bytes and seconds.
    #[arg(long)]
    pub json: bool,
}

/// A pause between two tables. Without one, all there would be is reading.
fn pause(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(100);
    match values::duration(text)? {
        pause if pause < LEAST => Err("the shortest pause is 0.1 seconds".to_owned()),
        pause => Ok(pause),
    }
}
