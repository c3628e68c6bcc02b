//! Which of a group of files get whose blocks. Pure.

use std::collections::BTreeMap;

/// Files that lie in the same blocks already; their places in the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) members: Vec<usize>,
    /// Some of them may not be changed.
    pub(super) is_fixed: bool,
}

/// A number of bytes that stands for more of them.
pub(super) type Digest = [u8; 32];

/// The classes of a group, of each file's blocks (`None` where they aren't
/// known: it is alone then), and whether it may be changed.
pub(super) fn classes(files: impl IntoIterator<Item = (Option<Digest>, bool)>) -> Vec<Class> {
    let (mut classes, mut known) = (Vec::<Class>::new(), BTreeMap::new());
    for (member, (layout, may_change)) in files.into_iter().enumerate() {
        let new = classes.len();
        let at = layout.map_or(new, |layout| *known.entry(layout).or_insert(new));
        if at == new {
            classes.push(Class::default());
        }
        if let Some(class) = classes.get_mut(at) {
            class.members.push(member);
            class.is_fixed |= !may_change;
        }
    }
    classes
}

/// Classes of the same content: the one whose blocks all get, and the others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alike {
    pub(super) content: Digest,
    pub(super) source: Class,
    pub(super) others: Vec<Class>,
}

/// Sorts classes by their content, where that is known. The blocks that most
/// files have stay; else those of a file that may not be changed.
pub(super) fn alike(classes: impl IntoIterator<Item = (Option<Digest>, Class)>) -> Vec<Alike> {
    let mut sorted = BTreeMap::<Digest, Vec<Class>>::new();
    for (content, class) in classes {
        if let Some(content) = content {
            sorted.entry(content).or_default().push(class);
        }
    }
    let chosen = sorted.into_iter().filter_map(|(content, mut others)| {
        let weight = |class: &Class| (class.members.len(), class.is_fixed);
        // Of equal ones the first.
        let (at, _) = others.iter().enumerate().rev().max_by_key(|(_, class)| weight(class))?;
        let source = others.remove(at);
        Some(Alike { content, source, others })
    });
    chosen.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(members: &[usize], is_fixed: bool) -> Class {
        Class { members: members.to_vec(), is_fixed }
    }

    #[test]
    fn same_blocks_are_one_class() {
        let (a, b) = (Some([1; 32]), Some([2; 32]));
        let files = [(a, true), (None, true), (b, false), (a, false), (None, true)];
        let expected =
            [class(&[0, 3], true), class(&[1], false), class(&[2], true), class(&[4], false)];
        assert_eq!(classes(files), expected);
    }

    #[test]
    fn most_files_keep_their_blocks() {
        let same = Some([7; 32]);
        let of = |classes: [Class; 3]| alike(classes.map(|class| (same, class))).remove(0).source;
        let many = class(&[1, 2], false);
        assert_eq!(of([class(&[0], true), many.clone(), class(&[3], false)]), many);
        assert_eq!(
            of([class(&[0], false), class(&[1], true), class(&[2], true)]),
            class(&[1], true)
        );
        assert_eq!(
            of([class(&[0], false), class(&[1], false), class(&[2], false)]),
            class(&[0], false)
        );
        assert!(alike([(None, class(&[0], false))]).is_empty());
    }

    proptest! {
        #[test]
        fn every_file_is_in_one_class(files in prop::collection::vec((prop::option::of(0u8..4), any::<bool>()), 0..40)) {
            let files = files.into_iter().map(|(layout, may)| (layout.map(|n| [n; 32]), may));
            let classes = classes(files.clone());
            let mut members: Vec<_> = classes.iter().flat_map(|class| class.members.clone()).collect();
            members.sort_unstable();
            prop_assert_eq!(members, (0..files.len()).collect::<Vec<_>>());
        }
    }
}
