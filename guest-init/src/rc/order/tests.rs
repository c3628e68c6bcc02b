//! Tests of the ordering.

use proptest::prelude::*;

use super::*;
use crate::rc::{depend, lsb};

fn links(names: &[&str]) -> Vec<Link> {
    let link = |(number, name): (usize, &&str)| Link {
        number: number as u32,
        name: (*name).to_owned(),
        file: format!("S{number:02}{name}"),
    };
    names.iter().enumerate().map(link).collect()
}

fn headers(list: &[(&str, &str)]) -> Source {
    let read = |(name, lines): &(&str, &str)| {
        let text = format!("### BEGIN INIT INFO\n{lines}\n### END INIT INFO\n");
        ((*name).to_owned(), lsb::parse(&text).unwrap())
    };
    Source::Headers(list.iter().map(read).collect(), Facilities::default())
}

#[test]
fn insservs_result_is_followed() {
    let depend = depend::parse("TARGETS = a b c\nINTERACTIVE = b\nc: a\n").unwrap();
    let order = order(&links(&["a", "b", "c"]), &Source::Depend(depend), false);
    assert_eq!(order.after, [vec![], vec![], vec![0]]);
    assert_eq!(order.alone, [false, true, false]);
}

#[test]
fn a_script_that_insserv_does_not_know_keeps_its_place() {
    let depend = depend::parse("TARGETS = a c d\nd: c\n").unwrap();
    let order = order(&links(&["a", "own", "c", "d"]), &Source::Depend(depend), false);
    assert_eq!(order.after, [vec![], vec![0], vec![1], vec![1, 2]]);
}

#[test]
fn headers_order_a_start_and_the_reverse_of_a_stop() {
    let source = headers(&[
        ("rsyslog", "# Provides: syslog\n"),
        ("cron", "# Required-Start: $syslog\n# Required-Stop: $syslog\n"),
        ("early", "# X-Start-Before: cron\n"),
    ]);
    let links = links(&["cron", "early", "rsyslog"]);
    assert_eq!(order(&links, &source, false).after, [vec![1, 2], vec![], vec![]]);
    assert_eq!(order(&links, &source, true).after, [vec![], vec![], vec![0]]);
}

#[test]
fn all_means_everything_that_does_not_say_all_itself() {
    let source = headers(&[
        ("a", "# Provides: a\n"),
        ("last", "# Required-Start: $all\n"),
        ("too", "# Required-Start: $all\n"),
    ]);
    let order = order(&links(&["last", "a", "too"]), &source, false);
    assert_eq!(order.after, [vec![1], vec![], vec![1]]);
}

#[test]
fn a_loop_is_broken_at_its_lowest_number() {
    let depend = depend::parse("TARGETS = a b c d\na: c\nb: a\nc: b\nd: c\n").unwrap();
    let order = order(&links(&["a", "b", "c", "d"]), &Source::Depend(depend), false);
    assert_eq!(order.loops, ["a"]);
    assert_eq!(order.after, [vec![], vec![0], vec![1], vec![2]]);
}

#[test]
fn without_data_one_runs_after_another() {
    let order = order(&links(&["a", "b", "c"]), &Source::Numbers, false);
    assert_eq!(order.after, [vec![], vec![0], vec![0, 1]]);
}

#[test]
fn a_number_gives_way_to_what_a_header_says() {
    let source = headers(&[("a", "# Required-Start: z\n"), ("z", "# Provides: z\n")]);
    let order = order(&links(&["a", "own", "z"]), &source, false);
    assert_eq!(order.after, [vec![2], vec![], vec![1]]);
    assert_eq!(order.loops, ["own"]);
}

/// Does everything get its turn, in an order in which each waits for what it
/// waits for?
fn runs(order: &Order) -> bool {
    let mut done = vec![false; order.after.len()];
    for _ in 0..order.after.len() {
        for (number, after) in order.after.iter().enumerate() {
            if after.iter().all(|other| done[*other]) {
                done[number] = true;
            }
        }
    }
    done.iter().all(|done| *done)
}

/// Does one wait for the other, by whatever way?
fn waits_for(order: &Order, number: usize, other: usize) -> bool {
    let mut open = vec![number];
    let mut seen = Vec::new();
    while let Some(at) = open.pop() {
        if seen.contains(&at) {
            continue;
        }
        seen.push(at);
        open.extend(&order.after[at]);
    }
    number != other && seen.contains(&other)
}

/// Headers of ten scripts, some without any: what each of them requires.
fn requirements() -> impl Strategy<Value = Vec<Option<Vec<usize>>>> {
    let required = prop::collection::vec(0usize..10, 0..4);
    prop::collection::vec(prop::option::weighted(0.8, required), 10)
}

fn source_of(required: &[Option<Vec<usize>>], stopping: bool) -> Source {
    let key = if stopping { "X-Stop-After" } else { "Required-Start" };
    let list: Vec<(String, String)> = required
        .iter()
        .enumerate()
        .filter_map(|(number, required)| {
            let names = required.as_ref()?.iter().map(|other| format!(" s{other}"));
            let names = names.collect::<String>();
            Some((format!("s{number}"), format!("# Provides: s{number}\n# {key}:{names}\n")))
        })
        .collect();
    headers(&list.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
}

/// The scripts' links, in the order of `numbers`.
fn shuffled(numbers: &[usize]) -> Vec<Link> {
    let names: Vec<String> = numbers.iter().map(|number| format!("s{number}")).collect();
    links(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn numbers() -> impl Strategy<Value = Vec<usize>> {
    Just((0..10).collect::<Vec<usize>>()).prop_shuffle()
}

proptest! {
    /// Whatever numbers they have, and whatever stands between them without
    /// a header.
    #[test]
    fn no_script_starts_before_what_it_requires(
        required in requirements(), numbers in numbers(), stopping: bool,
    ) {
        // Without loops: only what has a lower index is required.
        let required: Vec<Option<Vec<usize>>> = required
            .into_iter()
            .enumerate()
            .map(|(at, list)| Some(list?.into_iter().filter(|other| *other < at).collect()))
            .collect();
        let order = order(&shuffled(&numbers), &source_of(&required, stopping), stopping);
        prop_assert!(runs(&order));
        let place = |script: usize| numbers.iter().position(|number| *number == script).unwrap();
        for (script, list) in required.iter().enumerate() {
            for other in list.iter().flatten() {
                prop_assert!(waits_for(&order, place(script), place(*other)));
            }
        }
    }

    #[test]
    fn loops_in_headers_are_broken_and_said(required in requirements(), numbers in numbers()) {
        let order = order(&shuffled(&numbers), &source_of(&required, false), false);
        prop_assert!(runs(&order));
        // One that is in no loop is broken nowhere.
        let alone = required.iter().flatten().all(|list| list.is_empty());
        prop_assert!(!alone || order.loops.is_empty());
    }

    /// As without headers at all, where nothing contradicts the numbers.
    #[test]
    fn one_without_a_header_is_started_in_its_place(
        known in prop::collection::vec(any::<bool>(), 10),
    ) {
        let required: Vec<_> = known.iter().map(|known| known.then(Vec::new)).collect();
        let all: Vec<usize> = (0..10).collect();
        let order = order(&shuffled(&all), &source_of(&required, false), false);
        for number in 0..10 {
            for earlier in 0..number {
                let side_by_side = known[number] && known[earlier]
                    && (earlier + 1..number).all(|between| known[between]);
                prop_assert_eq!(waits_for(&order, number, earlier), !side_by_side);
            }
        }
        prop_assert!(order.loops.is_empty());
    }

    #[test]
    fn every_script_gets_its_turn(
        edges in prop::collection::vec((0usize..12, 0usize..12), 0..60),
        known in prop::collection::vec(any::<bool>(), 12),
    ) {
        let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
        let mut depend = Depend::default();
        depend.targets.extend(names.iter().zip(&known).filter(|(_, k)| **k).map(|(n, _)| n.clone()));
        for (from, to) in edges {
            depend.before.entry(names[from].clone()).or_default().push(names[to].clone());
        }
        let refs: Vec<&str> = names.iter().map(String::as_str).collect();
        let order = order(&links(&refs), &Source::Depend(depend), false);
        prop_assert!(runs(&order));
    }
}
