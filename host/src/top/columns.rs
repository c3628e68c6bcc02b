//! The columns of both tables: titles, cells, and which of them fit.

use super::rates::Rates;
use super::{Entry, Process};
use crate::report::printable;
use crate::report::stat::{self, column_of};

/// What is left for names at least.
const NAME: usize = 16;

/// The columns of contexts, in their order: what `vserver stat` calls the
/// first ones, and their ranks: where there is little room, the largest goes
/// first.
const STAT: [(&str, u8); 6] =
    [("proc", 0), ("vsz", 5), ("rss", 2), ("user", 3), ("sys", 4), ("uptime", 6)];

/// Title, width and rank of the others.
const MORE: [(&str, usize, u8); 6] = [
    ("%CPU", 7, 1),
    ("MEMORY", 8, 7),
    ("READ/s", 8, 8),
    ("WRITE/s", 8, 9),
    ("RECV/s", 8, 10),
    ("SENT/s", 8, 11),
];

/// Columns of processes: title and width.
const PROCESS: [(&str, usize); 7] =
    [("PID", 7), ("INSIDE", 8), ("S", 2), ("%CPU", 7), ("VSZ", 8), ("RSS", 8), ("TIME", 10)];

/// Width of the first column of contexts.
const NUMBER: usize = 5;

/// Which columns of contexts fit in this width, by their places.
fn fitting(width: usize) -> Vec<usize> {
    let all = STAT.iter().map(|(key, rank)| (column_of(key).map_or(0, stat::Column::width), *rank));
    let all: Vec<(usize, u8)> =
        all.chain(MORE.iter().map(|(_, width, rank)| (*width, *rank))).collect();
    let mut kept: Vec<usize> = (0..all.len()).collect();
    let width_of = |kept: &[usize]| -> usize {
        kept.iter().filter_map(|at| all.get(*at)).map(|(width, _)| width).sum()
    };
    while NUMBER + width_of(&kept) + 1 + NAME > width && !kept.is_empty() {
        let goes = kept.iter().max_by_key(|at| all.get(**at).map_or(0, |(_, rank)| *rank)).copied();
        kept.retain(|at| Some(*at) != goes);
    }
    kept
}

/// The titles over contexts.
pub fn context_titles(width: usize) -> String {
    let mut row = format!("{:<NUMBER$}", "CTX");
    for at in fitting(width) {
        let (title, width) = match STAT.get(at).and_then(|(key, _)| column_of(key)) {
            Some(column) => (column.title(), column.width()),
            None => MORE.get(at - STAT.len()).map_or(("", 0), |(title, width, _)| (*title, *width)),
        };
        row += &format!("{title:>width$}");
    }
    row + " NAME"
}

/// A context's row.
pub fn context_row(entry: &Entry, rates: &Rates, width: usize) -> String {
    let bytes = |rate: Option<u64>| rate.map_or_else(|| "-".to_owned(), stat::size);
    let account = &entry.line.account;
    let more = [
        percent(rates.cpu),
        bytes(account.usage.memory),
        bytes(rates.read),
        bytes(rates.written),
        bytes(rates.received),
        bytes(rates.sent),
    ];
    let number = entry.line.context.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let mut row = format!("{number:<NUMBER$}");
    for at in fitting(width) {
        // One that is too long keeps its distance.
        row += &match STAT.get(at).and_then(|(key, _)| column_of(key)) {
            Some(column) => format!(" {:>1$}", column.cell(account), column.width() - 1),
            None => {
                let (at, none) = (at - STAT.len(), String::new());
                let width = MORE.get(at).map_or(1, |(_, width, _)| *width);
                format!(" {:>1$}", more.get(at).unwrap_or(&none), width - 1)
            }
        };
    }
    row + " " + &printable(&entry.line.name)
}

/// The titles over processes.
pub fn process_titles() -> String {
    let titles = PROCESS.iter().map(|(title, width)| format!("{title:>width$}"));
    titles.collect::<String>() + " COMMAND"
}

/// A process's row.
pub fn process_row(process: &Process, cpu: Option<f64>) -> String {
    let cells = [
        process.id.pid.to_string(),
        process.inner.to_string(),
        printable(&process.state.to_string()),
        percent(cpu),
        stat::size(process.virtual_bytes),
        stat::size(process.resident_bytes),
        stat::duration(process.time),
    ];
    let cells = cells.iter().zip(PROCESS).map(|(cell, (_, width))| format!("{cell:>width$}"));
    cells.collect::<String>() + " " + &printable(&process.command)
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_columns_are_shown_where_there_is_room() {
        let titles = "CTX   PROC    VSZ    RSS  userTIME   sysTIME    UPTIME   %CPU  MEMORY  READ/s \
                      WRITE/s  RECV/s  SENT/s NAME";
        assert_eq!(context_titles(200), titles);
    }

    #[test]
    fn eighty_columns_hold_those_of_stat_and_the_processors_share() {
        let titles = "CTX   PROC    VSZ    RSS  userTIME   sysTIME    UPTIME   %CPU NAME";
        assert_eq!(context_titles(80), titles);
        assert_eq!(context_titles(40), "CTX   PROC   %CPU NAME");
        assert_eq!(context_titles(0), "CTX   NAME");
    }

    proptest! {
        #[test]
        fn a_wider_screen_loses_no_column(width in 0..200_usize) {
            let (less, more) = (fitting(width), fitting(width + 1));
            prop_assert!(less.iter().all(|at| more.contains(at)));
        }
    }
}
