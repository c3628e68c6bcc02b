//! Which guests wait for which (`after`), as far as they are known: the order
//! of those that are started together. Pure.

use std::collections::{BTreeMap, BTreeSet};

use shared::name::GuestName;

/// Guests, and those that they name in `after`.
#[derive(Clone, Debug, Default)]
pub struct Order(BTreeMap<GuestName, BTreeSet<GuestName>>);

impl Order {
    /// Of these guests. Others that they name are nothing to wait for, nor is
    /// a guest to itself.
    pub fn new(guests: impl IntoIterator<Item = (GuestName, Vec<GuestName>)>) -> Self {
        let all: Vec<_> = guests.into_iter().collect();
        let names: BTreeSet<_> = all.iter().map(|(name, _)| name.clone()).collect();
        let known = |(name, after): (GuestName, Vec<GuestName>)| {
            let after = after.into_iter().filter(|other| *other != name && names.contains(other));
            let after = after.collect();
            (name, after)
        };
        Self(all.into_iter().map(known).collect())
    }

    /// The shortest way from a guest over those that it waits for back to
    /// itself, without the guest at its end; empty where there is none.
    pub fn circle(&self, name: &GuestName) -> Vec<GuestName> {
        let mut before: BTreeMap<&GuestName, &GuestName> = BTreeMap::new();
        let mut ends = vec![name];
        while !ends.is_empty() {
            let mut further = Vec::new();
            for end in ends {
                for next in self.0.get(end).into_iter().flatten() {
                    if next == name {
                        let way = std::iter::successors(Some(end), |at| before.get(at).copied());
                        let mut way: Vec<_> = way.cloned().collect();
                        way.reverse();
                        return way;
                    }
                    if !before.contains_key(next) {
                        before.insert(next, end);
                        further.push(next);
                    }
                }
            }
            ends = further;
        }
        Vec::new()
    }

    /// Does one guest wait for another, over however many between them?
    fn reaches(&self, name: &GuestName, other: &GuestName) -> bool {
        let mut seen = BTreeSet::new();
        let mut ends = vec![name];
        while let Some(end) = ends.pop() {
            for next in self.0.get(end).into_iter().flatten() {
                if next == other {
                    return true;
                }
                if seen.insert(next) {
                    ends.push(next);
                }
            }
        }
        false
    }

    /// Do these wait for each other? Then neither is kept back by the other.
    pub fn is_mutual(&self, name: &GuestName, other: &GuestName) -> bool {
        self.reaches(name, other) && self.reaches(other, name)
    }

    /// All guests in groups: those of a group wait for some of the group
    /// before it, and for nobody of their own or a later one.
    pub fn groups(&self) -> Vec<Vec<GuestName>> {
        let waits = |(name, after): (&GuestName, &BTreeSet<GuestName>)| {
            let after: BTreeSet<_> =
                after.iter().filter(|other| !self.is_mutual(name, other)).cloned().collect();
            (name.clone(), after)
        };
        let mut waiting: BTreeMap<_, _> = self.0.iter().map(waits).collect();
        let mut groups = Vec::new();
        while !waiting.is_empty() {
            let later: BTreeSet<_> = waiting.keys().cloned().collect();
            let waits = |_: &GuestName, after: &mut BTreeSet<_>| after.is_disjoint(&later);
            // Without circles there is always one that needn't wait.
            let now: Vec<_> = waiting.extract_if(.., waits).map(|(name, _)| name).collect();
            groups.push(now);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(word: &str) -> GuestName {
        word.parse().expect("a name")
    }

    fn order(guests: &[(&str, &[&str])]) -> Order {
        let guest =
            |(own, after): &(&str, &[&str])| (name(own), after.iter().copied().map(name).collect());
        Order::new(guests.iter().map(guest))
    }

    fn words(names: &[GuestName]) -> Vec<String> {
        names.iter().map(GuestName::to_string).collect()
    }

    fn groups(guests: &[(&str, &[&str])]) -> Vec<Vec<String>> {
        order(guests).groups().iter().map(|group| words(group)).collect()
    }

    #[test]
    fn who_waits_comes_later() {
        let chain = groups(&[("web", &["db", "mail"]), ("db", &[]), ("mail", &["db"])]);
        assert_eq!(chain, [["db"], ["mail"], ["web"]]);
        assert_eq!(groups(&[("a", &["gone"]), ("b", &[])]), [["a", "b"]]);
        assert!(groups(&[]).is_empty());
    }

    #[test]
    fn a_circle_keeps_back_those_behind_it_only() {
        let guests: &[(&str, &[&str])] = &[
            ("a", &["b"]),
            ("b", &["c"]),
            ("c", &["a", "first"]),
            ("d", &["d"]),
            ("first", &[]),
            ("last", &["b"]),
        ];
        let expected = [vec!["a", "b", "d", "first"], vec!["c", "last"]];
        assert_eq!(groups(guests), expected);
    }

    #[test]
    fn a_circle_is_shown_from_each_of_it() {
        let order = order(&[("a", &["b"]), ("b", &["c", "a"]), ("c", &["a"]), ("d", &["d", "a"])]);
        assert_eq!(words(&order.circle(&name("a"))), ["a", "b"]);
        assert_eq!(words(&order.circle(&name("c"))), ["c", "a", "b"]);
        assert!(order.circle(&name("d")).is_empty(), "it is behind one, and in none");
        assert!(order.is_mutual(&name("a"), &name("c")));
        assert!(!order.is_mutual(&name("d"), &name("a")));
    }

    proptest! {
        #[test]
        fn everybody_comes_once_and_behind_whom_it_waits_for(
            edges in prop::collection::vec((0..8usize, 0..8usize), 0..20),
        ) {
            let guest = |number: usize| name(&format!("g{number}"));
            let after = |own: usize| {
                edges.iter().filter(move |(from, _)| *from == own).map(|(_, to)| guest(*to))
            };
            let order = Order::new((0..8).map(|own| (guest(own), after(own).collect())));
            let groups = order.groups();
            let place = |who: &GuestName| {
                groups.iter().position(|group| group.contains(who)).expect("it comes")
            };
            prop_assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), 8);
            for (from, to) in &edges {
                let (from, to) = (guest(*from), guest(*to));
                if from != to && !order.is_mutual(&from, &to) {
                    prop_assert!(place(&to) < place(&from));
                }
                let circle = order.circle(&from);
                prop_assert_eq!(circle.is_empty(), !order.reaches(&from, &from));
                prop_assert!(circle.iter().all(|other| *other == from || order.is_mutual(&from, other)));
            }
        }
    }
}
