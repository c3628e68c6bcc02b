//! A list of which one line is chosen: by what it shows, not by where it
//! stands, since lines change their places with every reading.

/// A choice among lines that are known by their keys.
#[derive(Clone, Debug)]
pub struct List<K, S> {
    /// What the lines are sorted by.
    pub sort: S,
    /// Text that shown lines have in their names.
    pub filter: String,
    chosen: Option<K>,
    /// Where that stood, for when it has gone.
    at: usize,
}

impl<K: Clone + PartialEq, S> List<K, S> {
    /// With nothing chosen yet: that will be the first line.
    pub fn new(sort: S) -> Self {
        Self { sort, filter: String::new(), chosen: None, at: 0 }
    }

    /// The key of the chosen line.
    pub fn chosen(&self) -> Option<&K> {
        self.chosen.as_ref()
    }

    /// Where it stands.
    pub fn at(&self) -> usize {
        self.at
    }

    /// These are the lines now, in their order. What was chosen stays chosen;
    /// if it has gone, the line in its place is.
    pub fn settle(&mut self, lines: &[K]) {
        let found = self.chosen.as_ref().and_then(|key| lines.iter().position(|line| line == key));
        self.choose(lines, found.unwrap_or(self.at));
    }

    /// Goes up or down so many lines.
    pub fn step(&mut self, lines: &[K], by: isize) {
        self.settle(lines);
        self.choose(lines, self.at.saturating_add_signed(by));
    }

    fn choose(&mut self, lines: &[K], at: usize) {
        self.at = at.min(lines.len().saturating_sub(1));
        self.chosen = lines.get(self.at).cloned();
    }

    /// Is a line with this name to be shown?
    pub fn passes(&self, name: &str) -> bool {
        self.filter.is_empty() || name.to_lowercase().contains(&self.filter.to_lowercase())
    }
}

/// Which of so many lines are shown where `room` fit: the chosen one stands
/// in the middle, except at both ends.
pub fn window(lines: usize, chosen: usize, room: usize) -> std::ops::Range<usize> {
    let first = chosen.saturating_sub(room / 2).min(lines.saturating_sub(room));
    first..lines.min(first + room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_choice_follows_its_line() {
        let mut list = List::new(());
        list.settle(&["a", "b", "c"]);
        assert_eq!(list.chosen(), Some(&"a"));
        list.step(&["a", "b", "c"], 1);
        list.settle(&["c", "a", "b"]);
        assert_eq!((list.chosen(), list.at()), (Some(&"b"), 2));
        list.settle(&["c", "a"]);
        assert_eq!(list.chosen(), Some(&"a"));
        list.settle(&[]);
        assert_eq!((list.chosen(), list.at()), (None, 0));
        list.settle(&["d"]);
        assert_eq!(list.chosen(), Some(&"d"));
    }

    proptest! {
        #[test]
        fn there_is_a_choice_wherever_there_are_lines(
            first in proptest::collection::hash_set(any::<u8>(), 0..20),
            then in proptest::collection::hash_set(any::<u8>(), 0..20),
            steps in proptest::collection::vec(-30..30_isize, 0..10),
        ) {
            let (first, then) = (Vec::from_iter(first), Vec::from_iter(then));
            let mut list = List::new(());
            for step in steps {
                list.step(&first, step);
            }
            let before = list.chosen().copied();
            list.settle(&then);
            prop_assert_eq!(list.chosen(), then.get(list.at()));
            prop_assert_eq!(list.chosen().is_some(), !then.is_empty());
            if before.is_some_and(|key| then.contains(&key)) {
                prop_assert_eq!(list.chosen().copied(), before);
            }
        }

        #[test]
        fn the_window_shows_the_choice(lines in 1..500_usize, chosen in 0..500_usize, room in 0..100_usize) {
            let chosen = chosen.min(lines - 1);
            let shown = window(lines, chosen, room);
            prop_assert_eq!(shown.len(), room.min(lines));
            prop_assert!(room == 0 || shown.contains(&chosen));
        }
    }
}
