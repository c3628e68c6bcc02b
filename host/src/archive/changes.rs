//! What has to be sent again of a tree that went on living while it was sent.
//! Pure.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::listing::Listing;

/// What makes a tree that is like one listing be like another one.
#[derive(Debug, Default)]
pub struct Changes {
    /// Names that go, each with all that is below it, before anything comes.
    pub removed: Vec<PathBuf>,
    /// Names that come, or come again in the place of what has their name.
    pub again: Listing,
}

/// Compares what was sent with what there is.
///
/// A name is sent again if what it stands for isn't what it was in any respect.
/// A name whose type is another one goes first: nothing has to be replaced by
/// something of another type. If one name of an inode is sent again, all of them
/// are, for otherwise they would be names of two files.
pub fn between(first: &Listing, second: &Listing) -> Changes {
    let mut changes = Changes::default();
    let mut before = first.iter().peekable();
    let (mut is_changed, mut inodes) = (Vec::new(), BTreeSet::new());
    for (path, seen) in second.iter() {
        while let Some((gone, _)) = before.next_if(|(other, _)| *other < path) {
            changes.goes(gone);
        }
        let was = before.next_if(|(other, _)| *other == path).map(|(_, was)| was);
        let is_other = was != Some(seen);
        if is_other && seen.is_linked {
            inodes.insert(seen.inode);
        }
        is_changed.push(is_other);
        if was.is_some_and(|was| was.kind != seen.kind) {
            changes.goes(path);
        }
    }
    before.for_each(|(gone, _)| changes.goes(gone));
    for ((path, seen), is_changed) in second.iter().zip(is_changed) {
        if is_changed || seen.is_linked && inodes.contains(&seen.inode) {
            changes.again.push(&path, seen);
        }
    }
    changes
}

impl Changes {
    /// What is below a name goes with it, and comes next in a listing.
    fn goes(&mut self, path: PathBuf) {
        if !self.removed.last().is_some_and(|above| path.starts_with(above)) {
            self.removed.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::archive::Seen;

    const DIRECTORY: u32 = 0o040_000;
    const FILE: u32 = 0o100_000;
    const FIFO: u32 = 0o010_000;

    type Tree = BTreeMap<PathBuf, Seen>;

    /// What the other side has: of each name the version that came, and which
    /// file it is a name of.
    type There = BTreeMap<PathBuf, (Seen, u64)>;

    /// A name is one of these files, in one of two versions.
    #[derive(Clone, Debug)]
    struct Name {
        path: PathBuf,
        inode: u64,
        version: i64,
    }

    /// Directories have inodes of their own, so that none has several names.
    fn tree(names: &[Name], is_at_rest: bool) -> Tree {
        let mut tree = Tree::new();
        let mut used = BTreeSet::new();
        for (number, name) in (100..).zip(names) {
            let above = name.path.parent().unwrap_or(Path::new(""));
            let is_below =
                |above: &Path| tree.get(above).is_some_and(|seen: &Seen| seen.kind == DIRECTORY);
            if !above.as_os_str().is_empty() && !is_below(above) {
                continue;
            }
            let (kind, is_linked) = match name.inode {
                0..3 => (DIRECTORY, false),
                3..5 => (FILE, false),
                5..8 => (FILE, true),
                _ => (FIFO, true),
            };
            // While a tree lives, one may be met twice that has been renamed.
            let is_once = kind != DIRECTORY && !is_linked && is_at_rest;
            if is_once && !used.insert(name.inode) {
                continue;
            }
            let inode = if kind == DIRECTORY { number } else { name.inode };
            let changed = (name.version, 0);
            let seen = Seen { inode: (1, inode), changed, size: 0, kind, is_linked };
            tree.entry(name.path.clone()).or_insert(seen);
        }
        tree
    }

    fn listing(tree: &Tree) -> Listing {
        let mut listing = Listing::default();
        tree.iter().for_each(|(path, seen)| listing.push(path, *seen));
        listing
    }

    /// As the other side does it.
    fn send(there: &mut There, members: &Listing, next: &mut u64) {
        let mut first: BTreeMap<(u64, u64), (u64, Seen)> = BTreeMap::new();
        for (path, seen) in members.iter() {
            let was = there.remove(&path);
            assert!(
                was.is_none_or(|(was, _)| was.kind == seen.kind),
                "'{}' takes the place of something else",
                path.display()
            );
            *next += 1;
            let new = (*next, seen);
            let (file, what) =
                if seen.is_linked { *first.entry(seen.inode).or_insert(new) } else { new };
            there.insert(path, (what, file));
        }
    }

    fn remove(there: &mut There, removed: &[PathBuf]) {
        for gone in removed {
            let before = there.len();
            there.retain(|path, _| !path.starts_with(gone));
            assert!(there.len() < before, "'{}' isn't there", gone.display());
        }
    }

    fn any_name() -> impl Strategy<Value = Name> {
        let part = prop::sample::select(vec!["a", "a.b", "b", "c"]);
        let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.iter().collect());
        (path, 0u64..10, 0i64..2).prop_map(|(path, inode, version)| Name { path, inode, version })
    }

    fn any_names() -> impl Strategy<Value = Vec<Name>> {
        prop::collection::vec(any_name(), 0..40)
    }

    /// The names of each file.
    fn names(tree: &Tree) -> BTreeMap<(u64, u64), BTreeSet<&Path>> {
        let mut names: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (path, seen) in tree {
            names.entry(seen.inode).or_default().insert(path.as_path());
        }
        names
    }

    /// A file is of one version at a time, and of another one if it has got more
    /// names than `before`, or fewer.
    fn settle(before: Option<&Tree>, tree: &mut Tree) {
        let mut versions = BTreeMap::new();
        if let Some(before) = before.map(names) {
            for (inode, names) in names(tree) {
                if before.get(&inode).is_some_and(|before| before.len() != names.len()) {
                    versions.insert(inode, 7);
                }
            }
        }
        for seen in tree.values_mut() {
            let is_whole = seen.kind == DIRECTORY || seen.is_linked;
            let version = if is_whole { versions.entry(seen.inode) } else { continue };
            seen.changed.0 = *version.or_insert(seen.changed.0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn the_other_side_ends_up_with_what_is_here(
            first in any_names(),
            second in any_names(),
            doubt in any::<u64>(),
            goes_on in any::<bool>(),
        ) {
            let mut first = tree(&first, false);
            // Otherwise hardly anything stays.
            let more = first.iter().map(|(path, seen)| Name {
                path: path.clone(),
                inode: if seen.kind == DIRECTORY { 0 } else { seen.inode.1 },
                version: seen.changed.0,
            });
            let names: Vec<_> = if goes_on { more.chain(second).collect() } else { second };
            let mut second = tree(&names, true);
            settle(None, &mut first);
            settle(Some(&first), &mut second);
            let (mut there, mut next) = (There::new(), 0);
            send(&mut there, &listing(&first), &mut next);
            for (number, seen) in first.values_mut().enumerate() {
                if doubt >> (number % 64) & 1 == 1 && number % 3 == 0 {
                    *seen = seen.in_doubt();
                }
            }
            let (first, second) = (listing(&first), listing(&second));
            let changes = between(&first, &second);
            remove(&mut there, &changes.removed);
            send(&mut there, &changes.again, &mut next);
            let here: Vec<_> = second.iter().collect();
            let same: Vec<_> =
                there.iter().map(|(path, (seen, _))| (path.clone(), *seen)).collect();
            prop_assert_eq!(same, here.clone());
            for (path, seen) in &here {
                for (other, what) in &here {
                    let is_one = path == other || seen.is_linked && seen.inode == what.inode;
                    prop_assert_eq!(there[path].1 == there[other].1, is_one, "{:?} {:?}", path, other);
                }
            }
        }

        #[test]
        fn nothing_is_sent_of_what_stays(names in any_names()) {
            let mut tree = tree(&names, true);
            settle(None, &mut tree);
            let changes = between(&listing(&tree), &listing(&tree));
            prop_assert!(changes.removed.is_empty() && changes.again.is_empty());
        }
    }
}
