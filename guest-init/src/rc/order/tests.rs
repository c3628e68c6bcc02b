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

proptest! {
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
        let mut done = [false; 12];
        for _ in 0..12 {
            for (number, after) in order.after.iter().enumerate() {
                if after.iter().all(|other| done[*other]) {
                    done[number] = true;
                }
            }
        }
        prop_assert!(done.iter().all(|d| *d));
    }
}
