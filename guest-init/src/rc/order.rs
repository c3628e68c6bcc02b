//! From links and what is known about them to a graph without loops.
//!
//! Pure. Whatever the data says, every script gets its turn: a loop is broken
//! at its lowest number, and said. A script that the data doesn't know keeps
//! its place by number: after all with a lower one, before all with a higher,
//! as far as the data about others leaves it that.

use std::collections::BTreeMap;

use super::depend::Depend;
use super::lsb::{Facilities, Header};
use super::select::Link;

/// What is known about the order.
#[derive(Clone, Debug)]
pub enum Source {
    /// insserv's own result.
    Depend(Depend),
    /// The headers of the scripts, by name of the script.
    Headers(BTreeMap<String, Header>, Facilities),
    /// Nothing: one after another, by number.
    Numbers,
}

/// The order of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// For each link: the numbers of those that have to end before.
    pub after: Vec<Vec<usize>>,
    /// For each link: does it want the console for itself?
    pub alone: Vec<bool>,
    /// The scripts at which loops were broken.
    pub loops: Vec<String>,
}

/// Orders links (sorted by number) for a start or, with `stopping`, a stop.
pub fn order(links: &[Link], source: &Source, stopping: bool) -> Order {
    let mut order = Order {
        after: vec![Vec::new(); links.len()],
        alone: vec![false; links.len()],
        loops: Vec::new(),
    };
    let known: Vec<bool> = links.iter().map(|link| is_known(&link.name, source)).collect();
    match source {
        Source::Depend(depend) => by_depend(links, depend, &mut order),
        Source::Headers(headers, facilities) => {
            by_headers(links, headers, facilities, stopping, &mut order);
        }
        Source::Numbers => {}
    }
    let said = order.after.clone();
    by_number(&known, &mut order);
    for (number, after) in order.after.iter_mut().enumerate() {
        after.sort_unstable();
        after.dedup();
        after.retain(|other| *other != number);
    }
    while let Some(found) = find_loop(&order.after) {
        let Some((from, to)) = weakest(&found, &said) else { break };
        if let Some(after) = order.after.get_mut(from) {
            after.retain(|other| *other != to);
        }
        order.loops.extend(links.get(from).map(|link| link.name.clone()));
    }
    order
}

fn is_known(name: &str, source: &Source) -> bool {
    match source {
        Source::Depend(depend) => depend.targets.contains(name),
        Source::Headers(headers, _) => headers.contains_key(name),
        Source::Numbers => false,
    }
}

fn by_depend(links: &[Link], depend: &Depend, order: &mut Order) {
    for (number, link) in links.iter().enumerate() {
        let before = depend.before.get(&link.name).map(Vec::as_slice).unwrap_or_default();
        let numbers = links.iter().enumerate().filter(|(_, other)| before.contains(&other.name));
        extend(order, number, numbers.map(|(other, _)| other));
        if let Some(alone) = order.alone.get_mut(number) {
            *alone = depend.interactive.contains(&link.name);
        }
    }
}

fn by_headers(
    links: &[Link],
    headers: &BTreeMap<String, Header>,
    facilities: &Facilities,
    stopping: bool,
    order: &mut Order,
) {
    let mut providers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, link) in links.iter().enumerate() {
        providers.entry(&link.name).or_default().push(number);
        for name in headers.get(&link.name).iter().flat_map(|header| &header.provides) {
            providers.entry(name).or_default().push(number);
        }
    }
    let wants_all = |number: usize| {
        links.get(number).and_then(|link| headers.get(&link.name)).is_some_and(|header| {
            header.start_after.iter().chain(&header.stop_before).any(|name| name == "$all")
        })
    };
    let resolve = |names: &[String]| -> Vec<usize> {
        let mut found = Vec::new();
        for name in names {
            if name == "$all" {
                found.extend((0..links.len()).filter(|number| !wants_all(*number)));
            }
            for script in facilities.expand(name) {
                found.extend(providers.get(script.as_str()).into_iter().flatten());
            }
        }
        found
    };
    for (number, link) in links.iter().enumerate() {
        let Some(header) = headers.get(&link.name) else { continue };
        let (after, before) = if stopping {
            (&header.stop_after, &header.stop_before)
        } else {
            (&header.start_after, &header.start_before)
        };
        extend(order, number, resolve(after).into_iter());
        for other in resolve(before) {
            extend(order, other, core::iter::once(number));
        }
        if let Some(alone) = order.alone.get_mut(number) {
            *alone = header.interactive;
        }
    }
}

/// Puts what the data doesn't know in its place by number.
fn by_number(known: &[bool], order: &mut Order) {
    for number in 0..known.len() {
        for earlier in 0..number {
            let both = [number, earlier].iter().all(|at| known.get(*at) == Some(&true));
            if !both {
                extend(order, number, core::iter::once(earlier));
            }
        }
    }
}

fn extend(order: &mut Order, number: usize, others: impl Iterator<Item = usize>) {
    if let Some(after) = order.after.get_mut(number) {
        after.extend(others);
    }
}

/// Which edge of a loop goes: one that stands for a number only, if there is
/// any, and of those the one from the lowest number.
fn weakest(found: &[usize], said: &[Vec<usize>]) -> Option<(usize, usize)> {
    let nexts = found.iter().cycle().skip(1);
    let edges = found.iter().copied().zip(nexts.copied());
    let is_said = |from: usize, to: usize| said.get(from).is_some_and(|all| all.contains(&to));
    edges.min_by_key(|&(from, to)| (is_said(from, to), from))
}

/// A loop, if there is one: scripts each of which waits for the next, and the
/// last for the first.
fn find_loop(after: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut open: Vec<usize> = (0..after.len()).collect();
    // Take away whatever waits for nothing that is left: loops remain, and
    // what waits for them.
    loop {
        let blocked = |number: &usize| {
            after.get(*number).is_some_and(|others| others.iter().any(|other| open.contains(other)))
        };
        let left: Vec<usize> = open.iter().copied().filter(blocked).collect();
        if left.len() == open.len() {
            break;
        }
        open = left;
    }
    // Everything left waits for something left: a walk has to come back.
    let next = |from: usize| after.get(from)?.iter().copied().find(|other| open.contains(other));
    let mut path = vec![*open.first()?];
    loop {
        let to = next(*path.last()?)?;
        if let Some(start) = path.iter().position(|seen| *seen == to) {
            return Some(path.split_off(start));
        }
        path.push(to);
    }
}

#[cfg(test)]
mod tests;
