//! Layers that are made of small trees, with a model of what the kernel makes of them.

use std::collections::BTreeMap;
use std::fs as files;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

use super::*;

/// A small tree: what is at each path.
#[derive(Clone, Debug)]
enum Node {
    File(u8),
    /// A further name of the first file.
    Twin,
    Link(u8),
    Fifo,
    Directory(BTreeMap<u8, Node>),
}

#[derive(Clone, Debug)]
struct Seen {
    node: Node,
    mode: u32,
    time: i64,
}

type Tree = BTreeMap<u8, Seen>;

fn trees() -> impl Strategy<Value = (Tree, Tree)> {
    let leaf = prop_oneof![
        4 => (0u8..3).prop_map(Node::File),
        1 => Just(Node::Twin),
        1 => (0u8..2).prop_map(Node::Link),
        1 => Just(Node::Fifo),
    ];
    let node = leaf.prop_recursive(3, 16, 4, |inner| {
        prop::collection::btree_map(0u8..4, inner, 0..4).prop_map(Node::Directory)
    });
    let seen = (node, prop_oneof![9 => Just(0o755u32), 1 => Just(0o700)], 0i64..2)
        .prop_map(|(node, mode, time)| Seen { node, mode, time });
    let tree = || prop::collection::btree_map(0u8..5, seen.clone(), 2..=5);
    // Mostly alike.
    (tree(), tree()).prop_flat_map(|(base, other)| {
        let mixed = prop::collection::vec(0u8..3, 5);
        (Just(base), Just(other), mixed).prop_map(|(base, other, mixed)| {
            let mut mine = base.clone();
            for (name, choice) in (0u8..5).zip(mixed) {
                match (choice, other.get(&name)) {
                    (0, Some(seen)) => drop(mine.insert(name, seen.clone())),
                    (0, None) => drop(mine.remove(&name)),
                    (1, _) => {
                        mine.get_mut(&name).into_iter().for_each(|seen| alter(&mut seen.node));
                    }
                    _ => {}
                }
            }
            (mine, base)
        })
    })
}

/// Other bytes, and nothing else, as far as there are files.
fn alter(node: &mut Node) {
    match node {
        Node::File(byte) => *byte += 1,
        Node::Directory(names) => names.values_mut().for_each(alter),
        Node::Twin | Node::Link(_) | Node::Fifo => {}
    }
}

fn write(tree: &Tree, at: &Path) {
    files::create_dir(at).unwrap();
    let mut first = None;
    for (name, seen) in tree {
        node(&seen.node, &at.join(name.to_string()), seen, &mut first);
    }
    stamp(at, 0);
}

fn node(node_: &Node, at: &Path, seen: &Seen, first: &mut Option<PathBuf>) {
    match node_ {
        Node::File(byte) => {
            files::write(at, vec![*byte; 10]).unwrap();
            first.get_or_insert_with(|| at.to_owned());
        }
        Node::Twin => match first {
            Some(first) => return files::hard_link(first, at).unwrap(),
            None => files::write(at, "").unwrap(),
        },
        Node::Link(target) => symlink(target.to_string(), at).unwrap(),
        Node::Fifo => mknodat(CWD, at, FileType::Fifo, Mode::RWXU, 0).unwrap(),
        Node::Directory(names) => {
            files::create_dir(at).unwrap();
            for (name, below) in names {
                node(below, &at.join(name.to_string()), seen, first);
            }
        }
    }
    if !matches!(node_, Node::Link(_)) {
        files::set_permissions(at, files::Permissions::from_mode(seen.mode)).unwrap();
    }
    stamp(at, seen.time);
}

fn stamp(at: &Path, time: i64) {
    let time = Timespec { tv_sec: time, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, at, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// What is seen at each path: kind and mode, time, content, and which names are
/// one file's.
type Shown = BTreeMap<PathBuf, (u32, i64, Vec<u8>, Option<u64>)>;

fn shown(at: &Path, inside: &Path, into: &mut Shown) {
    let about = files::symlink_metadata(at).unwrap();
    let content = match about.file_type() {
        kind if kind.is_file() => files::read(at).unwrap(),
        kind if kind.is_symlink() => {
            files::read_link(at).unwrap().into_os_string().into_encoded_bytes()
        }
        _ => Vec::new(),
    };
    // The inode that names have in common; others may have any.
    let twin = (!about.is_dir() && about.nlink() > 1).then_some(about.ino());
    into.insert(inside.to_owned(), (about.mode(), about.mtime(), content, twin));
    if about.is_dir() {
        for entry in files::read_dir(at).unwrap() {
            let name = entry.unwrap().file_name();
            shown(&at.join(&name), &inside.join(&name), into);
        }
    }
}

fn is_whiteout(path: &Path) -> bool {
    let about = files::symlink_metadata(path);
    about.is_ok_and(|about| about.file_type().is_char_device() && about.rdev() == 0)
}

/// What the kernel makes of both: directories in both are one, whose
/// properties are the upper one's; else the upper name hides the lower one.
fn merged(upper: &Path, base: &Path, inside: &Path, into: &mut Shown) {
    let is_directory =
        |path: &Path| files::symlink_metadata(path).is_ok_and(|about| about.is_dir());
    if is_whiteout(upper) {
        return;
    }
    let has = upper.symlink_metadata().is_ok();
    if !(is_directory(upper) && is_directory(base)) {
        return shown(if has { upper } else { base }, inside, into);
    }
    let about = files::symlink_metadata(upper).unwrap();
    into.insert(inside.to_owned(), (about.mode(), about.mtime(), Vec::new(), None));
    let names = |at: &Path| {
        let entries = files::read_dir(at).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    let mut all = names(upper);
    all.extend(names(base));
    all.sort();
    all.dedup();
    for name in all {
        merged(&upper.join(&name), &base.join(&name), &inside.join(&name), into);
    }
}

fn laid(mine: &Path, base: &Path, upper: Option<&Path>, exclude: &[&str]) -> Result<Laid> {
    let opened = |path: &Path| RootDir::open(path).unwrap();
    let (mine, base, upper) = (opened(mine), opened(base), upper.map(opened));
    let excluded = Excluded::new(exclude.iter().copied()).unwrap();
    let check = || Ok(());
    let (upper, excluded) = (upper.as_ref(), &excluded);
    Layer { mine: &mine, base: &base, upper, excluded, check: &check }.make(|_| {})
}

fn scene() -> (tempfile::TempDir, [PathBuf; 3]) {
    let scene = tempfile::tempdir_in("/var/tmp").unwrap();
    let paths = ["mine", "base", "upper"].map(|name| scene.path().join(name));
    (scene, paths)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_layer_and_its_base_are_the_tree((mine, base) in trees()) {
        let (_scene, [ours, theirs, upper]) = scene();
        write(&mine, &ours);
        write(&base, &theirs);
        files::create_dir(&upper).unwrap();
        let (mut before, mut after) = (Shown::new(), Shown::new());
        shown(&ours, Path::new(""), &mut before);
        let would = laid(&ours, &theirs, None, &[]).unwrap();
        prop_assert_eq!(files::read_dir(&upper).unwrap().count(), 0);
        let done = laid(&ours, &theirs, Some(&upper), &[]).unwrap();
        prop_assert_eq!((would.files, would.base_files), (done.files, done.base_files));
        prop_assert_eq!(done.files, done.base_files + done.left_files);
        // The guest's own names go.
        let parent = File::open(ours.parent().unwrap()).unwrap();
        crate::fsroot::remove_tree(&parent, "mine".as_ref()).unwrap();
        merged(&upper, &theirs, Path::new(""), &mut after);
        prop_assert_eq!(before, after);
    }
}

#[test]
fn what_is_the_same_is_not_in_the_layer() {
    let (_scene, [ours, theirs, upper]) = scene();
    for root in [&ours, &theirs] {
        files::create_dir_all(root.join("deep/er")).unwrap();
        for name in ["deep/er/same", "deep/er/log", "twin"] {
            files::write(root.join(name), "same").unwrap();
            stamp(&root.join(name), 7);
        }
        // As long, and of the same time.
        let own = root.file_name().unwrap().as_encoded_bytes();
        for name in ["deep/er/bytes", "deep/er/marked"] {
            let bytes = if name.ends_with("bytes") { own } else { b"same" };
            files::write(root.join(name), bytes).unwrap();
            stamp(&root.join(name), 7);
        }
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(root.join("deep/er/marked"), "user.of", own, flags).unwrap();
        symlink("x", root.join("deep/link")).unwrap();
        stamp(&root.join("deep/link"), 7);
        files::hard_link(root.join("twin"), root.join("twin too")).unwrap();
        stamp(&root.join("deep/er"), 7);
        stamp(&root.join("deep"), 7);
    }
    files::create_dir(&upper).unwrap();
    let done = laid(&ours, &theirs, Some(&upper), &["/deep/er/log"]).unwrap();
    assert_eq!((done.files, done.base_files, done.left_files, done.base_bytes), (6, 1, 5, 4));
    assert!(done.saved_bytes >= 4, "{done:?}");
    let names = |at: &Path| tree_of(at).into_keys().collect::<Vec<_>>();
    let own = ["deep/er/bytes", "deep/er/log", "deep/er/marked", "twin", "twin too"];
    let expected = ["", "deep", "deep/er"].into_iter().chain(own);
    assert_eq!(names(&upper), expected.map(PathBuf::from).collect::<Vec<_>>());
    let inode = |root: &Path| files::metadata(root.join("deep/er/log")).unwrap().ino();
    assert_eq!(inode(&ours), inode(&upper), "its bytes were copied");
}

fn tree_of(at: &Path) -> Shown {
    let mut all = Shown::new();
    shown(at, Path::new(""), &mut all);
    all
}

#[test]
fn what_would_mean_something_else_is_refused() {
    let (_scene, [ours, theirs, upper]) = scene();
    for root in [&ours, &theirs, &upper] {
        files::create_dir(root).unwrap();
    }
    let device = |at: &Path| {
        mknodat(CWD, at, FileType::CharacterDevice, Mode::RWXU, 0).unwrap();
    };
    device(&ours.join("gone"));
    let refused = laid(&ours, &theirs, Some(&upper), &[]).unwrap_err().to_string();
    assert!(refused.contains("mine/gone' is a device 0:0"), "{refused}");
    files::remove_file(ours.join("gone")).unwrap();
    let note = |at: &Path| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(at, "user.overlay.opaque", b"y", flags).unwrap();
    };
    files::create_dir(ours.join("dir")).unwrap();
    files::create_dir(theirs.join("dir")).unwrap();
    note(&theirs.join("dir"));
    let refused = laid(&ours, &theirs, None, &[]).unwrap_err().to_string();
    assert!(refused.contains("base/dir' is a file with attributes 'overlay'"), "{refused}");
    note(&ours.join("dir"));
    let refused = laid(&ours, &theirs, None, &[]).unwrap_err().to_string();
    assert!(refused.contains("mine/dir' is a file with attributes 'overlay'"), "{refused}");
}
