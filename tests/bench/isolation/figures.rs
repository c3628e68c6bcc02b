//! What the times say, and the page that shows it.

use std::fmt::Write as _;

use tests::Median;

use crate::work::{SINGLE, USUAL};

/// Those who take turns, in this order: the host in the tree of the guest
/// without filter, that guest, the host in the other's tree, the other.
pub const CONTENDERS: usize = 4;

/// What was measured of one kind of work: nanoseconds on the host, and what
/// the batches of one round say of each other.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    host: Median,
    bare: Median,
    guest: Median,
    filter: Median,
}

impl Figures {
    /// Of the times of all rounds.
    pub fn of(rounds: &[[f64; CONTENDERS]]) -> Self {
        let of = |value: fn(&[f64; CONTENDERS]) -> f64| Median::of(rounds.iter().map(value));
        Self {
            host: of(|[host, ..]| *host),
            bare: of(|[host, bare, ..]| host / bare),
            guest: of(|[.., host, guest]| host / guest),
            filter: of(|[one, bare, other, guest]| (guest - other) - (bare - one)),
        }
    }
}

/// What was measured in each mode, kind by kind.
pub type Mode = (&'static str, Vec<Figures>);

/// The whole page.
pub fn page(modes: &[Mode]) -> String {
    let mut page = include_str!("page.md").to_owned();
    page.push_str("\n## Work as programs do it\n\n");
    let usual: Vec<_> = USUAL.iter().map(|kind| kind.name).collect();
    table(&mut page, &usual, 0, modes);
    page.push_str("\n## Single calls, over and over: the worst cases\n\n");
    let single: Vec<_> = SINGLE.iter().map(|kind| kind.name).collect();
    table(&mut page, &single, usual.len(), modes);
    page
}

fn table(page: &mut String, names: &[&str], first: usize, modes: &[Mode]) {
    page.push_str(
        "| work | users | host, ns | all but the filter | guest | filter alone, ns |\n\
         |---|---|---|---|---|---|\n",
    );
    for (number, name) in (first..).zip(names) {
        for (mode, figures) in modes {
            let Figures { host, bare, guest, filter } = figures[number];
            let _ = writeln!(
                page,
                "| {name} | {mode} | {:.0} | {bare} | {guest} | {:+.0} |",
                host.value, filter.value
            );
        }
    }
}
