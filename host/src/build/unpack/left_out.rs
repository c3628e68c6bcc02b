//! What wasn't extracted, to be told: some names and how many there were. Who writes
//! an archive has no say in how much is remembered.

use std::collections::BTreeMap;
use std::path::Path;

use crate::tree;

/// How many left-out entries a remark names.
const NAMED: usize = 8;

/// What wasn't extracted.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    by_reason: BTreeMap<&'static str, Paths>,
    /// Files of which an attribute has no place on the new file system.
    without_attributes: u64,
}

#[derive(Debug, Default)]
struct Paths {
    first: Vec<String>,
    more: u64,
}

impl LeftOut {
    /// One more path.
    pub(crate) fn add(&mut self, reason: &'static str, path: &Path) {
        let paths = self.by_reason.entry(reason).or_default();
        match paths.first.len() < NAMED {
            true => paths.first.push(shown(path)),
            false => paths.more += 1,
        }
    }

    /// One more file; did it get all of its attributes?
    pub(super) fn count(&mut self, has_all: bool) {
        self.without_attributes += u64::from(!has_all);
    }

    /// Files that didn't get all of their attributes.
    pub(super) fn without_attributes(&self) -> u64 {
        self.without_attributes
    }

    /// Each reason with its first paths.
    #[cfg(test)]
    pub(super) fn by_reason(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.by_reason.iter().map(|(reason, paths)| (*reason, paths.first.as_slice()))
    }
}

/// A path of the archive, safe for a terminal.
pub(super) fn shown(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().escape_debug())
}

/// One line for each reason why something was left out.
pub(crate) fn remarks(left_out: &LeftOut) -> impl Iterator<Item = String> {
    let by_reason = left_out.by_reason.iter().map(|(why, paths)| {
        let more = if paths.more > 0 { format!(" and {} more", paths.more) } else { String::new() };
        format!("{why}: {}{more}", paths.first.join(", "))
    });
    by_reason.chain(tree::without_attributes(left_out.without_attributes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_named_and_the_rest_is_counted() {
        let mut left_out = LeftOut::default();
        for number in 0..1000 {
            left_out.add("devices", Path::new(&format!("dev/{number}")));
        }
        assert_eq!(left_out.by_reason().next().unwrap().1.len(), NAMED);
        let said: Vec<_> = remarks(&left_out).collect();
        assert!(said[0].starts_with("devices: 'dev/0', 'dev/1', "), "{said:?}");
        assert!(said[0].ends_with("'dev/7' and 992 more"), "{said:?}");
    }
}
