//! Archives in two parts: whatever happens to a tree while it is read, what
//! comes out is what it was at the end; and what was made to harm does none.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, XattrFlags, mknodat, removexattr, setxattr};

use super::*;
use crate::archive::Archive;
use crate::tree::{Attributes, Calm, Step};

fn go_on() -> Result<()> {
    Ok(())
}

fn head() -> Head {
    let manifest = Manifest::new("web".parse().unwrap(), None, "web".to_owned(), false);
    Head { manifest: manifest.in_parts(), config: String::new(), actions: None }
}

/// One thing that happens to a tree. It may not be possible.
#[derive(Clone, Debug)]
enum Event {
    Write(String, usize),
    Append(String),
    Shorten(String),
    Hole(String),
    Remove(String),
    Directory(String),
    Rename(String, String),
    HardLink(String, String),
    Symlink(String, String),
    Fifo(String),
    Mode(String, u32),
    Attribute(String, u8),
    Bare(String),
}

fn happen(root: &Path, event: &Event) {
    let at = |path: &str| root.join(path);
    // It may be a FIFO that nobody reads.
    let options = || {
        let mut options = fs::OpenOptions::new();
        options.custom_flags(libc::O_NONBLOCK);
        options
    };
    let new = |path| options().write(true).create(true).truncate(true).open(at(path));
    let _ = match event {
        Event::Write(path, length) => {
            new(path).and_then(|mut file| file.write_all(&vec![b'w'; *length]))
        }
        Event::Append(path) => {
            let file = options().append(true).open(at(path));
            file.and_then(|mut file| file.write_all(b"more"))
        }
        Event::Shorten(path) => {
            options().write(true).open(at(path)).and_then(|file| file.set_len(1))
        }
        Event::Hole(path) => new(path).and_then(|file| {
            file.write_all_at(b"end", 1 << 20)?;
            file.set_len(1 << 21)
        }),
        Event::Remove(path) => match at(path).symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(at(path)),
            _ => fs::remove_file(at(path)),
        },
        Event::Directory(path) => fs::create_dir(at(path)),
        Event::Rename(from, to) => fs::rename(at(from), at(to)),
        Event::HardLink(from, to) => fs::hard_link(at(from), at(to)),
        Event::Symlink(target, path) => symlink(target, at(path)),
        Event::Fifo(path) => {
            mknodat(CWD, at(path), FileType::Fifo, Mode::RUSR, 0).map_err(Into::into)
        }
        Event::Mode(path, mode) => {
            fs::set_permissions(at(path), fs::Permissions::from_mode(0o700 | mode))
        }
        Event::Attribute(path, value) => {
            setxattr(at(path), "user.note", &[*value], XattrFlags::empty()).map_err(Into::into)
        }
        Event::Bare(path) => removexattr(at(path), "user.note").map_err(Into::into),
    };
}

fn any_path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "a.b", "b", "c"]);
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn any_event() -> impl Strategy<Value = Event> {
    let path = any_path;
    let two = || (any_path(), any_path());
    prop_oneof![
        3 => (path(), 0usize..9000).prop_map(|(path, length)| Event::Write(path, length)),
        2 => path().prop_map(Event::Append),
        1 => path().prop_map(Event::Shorten),
        1 => path().prop_map(Event::Hole),
        3 => path().prop_map(Event::Remove),
        6 => path().prop_map(Event::Directory),
        3 => two().prop_map(|(from, to)| Event::Rename(from, to)),
        3 => two().prop_map(|(from, to)| Event::HardLink(from, to)),
        2 => two().prop_map(|(target, path)| Event::Symlink(target, path)),
        1 => path().prop_map(Event::Fifo),
        1 => (path(), 0u32..0o100).prop_map(|(path, mode)| Event::Mode(path, mode)),
        1 => (path(), any::<u8>()).prop_map(|(path, value)| Event::Attribute(path, value)),
        1 => path().prop_map(Event::Bare),
    ]
}

/// All that a name has, and the first name of the file that it is one of.
type Name = (u32, i64, i64, Vec<u8>, u64, PathBuf, Attributes);

fn seen(root: &Path) -> BTreeMap<PathBuf, Name> {
    let (mut names, mut first) = (BTreeMap::new(), BTreeMap::new());
    let opened = RootDir::open(root).unwrap();
    crate::tree::walk(&opened, &go_on, |step| {
        let Step::Enter(entry, _) = step else { return Ok(()) };
        let path = root.join(entry.path);
        let metadata = path.symlink_metadata().unwrap();
        let content = match entry.kind() {
            FileType::RegularFile => fs::read(&path).unwrap(),
            FileType::Symlink => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let file = first.entry(metadata.ino()).or_insert_with(|| entry.path.to_owned()).clone();
        let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
        let attributes = Attributes::read(std::os::fd::AsFd::as_fd(&entry.pin().unwrap().file));
        let name = (
            metadata.mode(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            content,
            links,
            file,
            attributes.unwrap(),
        );
        names.insert(entry.path.to_owned(), name);
        Ok(())
    })
    .unwrap();
    names
}

/// Waits until a change has another time than all that were before: it is the
/// first one that may be in doubt.
fn calm(beside: &Path) -> Calm {
    let change = || {
        fs::write(beside, "x").unwrap();
        let metadata = fs::metadata(beside).unwrap();
        (metadata.ctime(), metadata.ctime_nsec().cast_unsigned())
    };
    let before = change();
    loop {
        let now = change();
        // A kernel with fine times gives some that are later than the next
        // coarse one is.
        if now > (before.0, before.1 + 20_000_000) {
            return Calm::since(now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn what_comes_out_is_what_there_is_at_the_end(
        before in prop::collection::vec(any_event(), 0..40),
        meanwhile in prop::collection::vec(any_event(), 0..40),
        after in prop::collection::vec(any_event(), 0..10),
    ) {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        fs::create_dir(&tree).unwrap();
        before.iter().for_each(|event| happen(&tree, event));
        let calm = calm(&place.path().join("clock"));
        let root = RootDir::open(&tree).unwrap();
        let mut packed = Vec::new();
        let mut archive = Archive::begin(&mut packed, 1, &head(), &go_on).unwrap();
        let meanwhile = RefCell::new(meanwhile.iter());
        let some_happen = |_| {
            for event in meanwhile.borrow_mut().by_ref().take(3) {
                happen(&tree, event);
            }
        };
        let first = archive.first_part(&root, calm, &mut { some_happen }).unwrap();
        after.iter().for_each(|event| happen(&tree, event));
        archive.second_part(&root, &first, &mut |_| ()).unwrap();
        archive.end().unwrap();
        let (there, imported) = import(&packed);
        imported.unwrap();
        prop_assert_eq!(seen(&there.path().join("root")), seen(&tree));
    }

    #[test]
    fn one_of_two_parts_that_is_cut_off_is_refused(part in 0.0f64..1.0) {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("one"), "one").unwrap();
        let (root, mut packed) = (RootDir::open(tree.path()).unwrap(), Vec::new());
        let mut archive = Archive::begin(&mut packed, 1, &head(), &go_on).unwrap();
        let first = archive.first_part(&root, Calm::begin(), &mut |_| ()).unwrap();
        archive.second_part(&root, &first, &mut |_| ()).unwrap();
        archive.end().unwrap();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let length = (packed.len() as f64 * part) as usize;
        prop_assert!(import(&packed[..length]).1.is_err());
        prop_assert!(import(&packed).1.is_ok());
    }
}

#[test]
fn what_stays_is_sent_once() {
    const LENGTH: usize = 1 << 20;
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("stays"), vec![7; LENGTH]).unwrap();
    fs::hard_link(tree.join("stays"), tree.join("too")).unwrap();
    fs::write(tree.join("goes"), "x").unwrap();
    let calm = calm(&place.path().join("clock"));
    let (root, mut packed) = (RootDir::open(&tree).unwrap(), Vec::new());
    let mut archive = Archive::begin(&mut packed, 1, &head(), &go_on).unwrap();
    let first = archive.first_part(&root, calm, &mut |_| ()).unwrap();
    fs::remove_file(tree.join("goes")).unwrap();
    archive.second_part(&root, &first, &mut |_| ()).unwrap();
    assert_eq!(archive.end().unwrap().files, 3);
    let plain = zstd::decode_all(packed.as_slice()).unwrap();
    assert!(plain.len() < LENGTH + 20_000, "{} bytes", plain.len());
    let (there, imported) = import(&packed);
    imported.unwrap();
    assert_eq!(seen(&there.path().join("root")), seen(&tree));
}

#[test]
fn an_attribute_that_was_taken_from_a_directory_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir_all(tree.join("d")).unwrap();
    let set = |at: &Path| setxattr(at, "user.kept", b"1", XattrFlags::empty());
    for path in [&tree, &tree.join("d")] {
        if set(path).is_err() {
            // There is no place for any.
            return;
        }
        setxattr(path, "user.note", b"1", XattrFlags::empty()).unwrap();
    }
    let calm = calm(&place.path().join("clock"));
    let (root, mut packed) = (RootDir::open(&tree).unwrap(), Vec::new());
    let mut archive = Archive::begin(&mut packed, 1, &head(), &go_on).unwrap();
    let first = archive.first_part(&root, calm, &mut |_| ()).unwrap();
    for path in ["", "d"] {
        happen(&tree, &Event::Bare(path.to_owned()));
    }
    archive.second_part(&root, &first, &mut |_| ()).unwrap();
    archive.end().unwrap();
    let (there, imported) = import(&packed);
    imported.unwrap();
    let there = seen(&there.path().join("root"));
    assert_eq!(there, seen(&tree));
    assert!(there.values().all(|(.., attributes)| attributes.iter().count() == 1), "{there:?}");
}

#[test]
fn what_changes_deeper_than_a_path_may_lead_comes_again() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let calm = calm(&place.path().join("clock"));
    let (root, mut packed) = (RootDir::open(&tree).unwrap(), Vec::new());
    let name = "d".repeat(200);
    let low: PathBuf = std::iter::repeat_n(name.as_str(), 25).collect();
    root.create_dir_all(&low, 0o755).unwrap();
    root.write(low.join("goes"), b"x", 0o644).unwrap();
    root.write(low.join("changes"), b"first", 0o644).unwrap();
    let mut archive = Archive::begin(&mut packed, 1, &head(), &go_on).unwrap();
    let first = archive.first_part(&root, calm, &mut |_| ()).unwrap();
    root.remove(low.join("goes")).unwrap();
    root.write(low.join("changes"), b"second", 0o644).unwrap();
    archive.second_part(&root, &first, &mut |_| ()).unwrap();
    archive.end().unwrap();
    let (there, imported) = import(&packed);
    imported.unwrap();
    let there = RootDir::open(&there.path().join("root")).unwrap();
    assert_eq!(there.list(&low).unwrap(), ["changes"]);
    let read = there.read(low.join("changes"), 6).unwrap();
    assert_eq!(read.as_deref(), Some(&b"second"[..]));
}

/// An archive with these members behind its head, and the right digest.
fn crafted(is_in_parts: bool, members: &[(&str, &[u8])]) -> Vec<u8> {
    let manifest = Head { ..head() }.manifest;
    let text = manifest.render().unwrap();
    let text = if is_in_parts { text } else { text.replace("format = 2", "format = 1") };
    let mut bytes = Summed::new(Vec::new());
    let mut add = |name: &str, data: &[u8]| {
        let mut header = tar::Header::new_ustar();
        let link = name.strip_suffix('@');
        header.set_path(link.unwrap_or(name)).unwrap();
        header.set_mode(0o755);
        header.set_size(if link.is_some() { 0 } else { data.len() as u64 });
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        } else if link.is_some() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name_literal(data).unwrap();
        }
        header.set_cksum();
        bytes.write_all(header.as_bytes()).unwrap();
        let sum = if name == DIGEST { bytes.sum() + "\n" } else { String::new() };
        let data = if link.is_some() { &[] } else { data };
        let data = if name == DIGEST { sum.as_bytes() } else { data };
        bytes.write_all(data).unwrap();
        bytes.write_all(&vec![0; data.len().next_multiple_of(512) - data.len()]).unwrap();
    };
    add(MANIFEST, text.as_bytes());
    add(CONFIG, b"");
    members.iter().for_each(|(name, data)| add(name, data));
    add(DIGEST, &[0; 65]);
    bytes.write_all(&[0; 1024]).unwrap();
    bytes.into_inner().unwrap()
}

#[test]
fn parts_come_in_their_order() {
    let first = (FIRST, &b""[..]);
    let removed = |names: &'static str| (REMOVED, names.as_bytes());
    let file = ("root/a", &b"a"[..]);
    import(&crafted(true, &[file, first, removed("a\0")])).1.unwrap();
    let refused = |is_in_parts, members: &[_], why: &str| {
        let complaint = complaint(&crafted(is_in_parts, members));
        assert!(complaint.contains(why), "{complaint}");
    };
    refused(false, &[file, first, removed("")], "is none of a guest's");
    refused(true, &[file], "is none of a guest's");
    refused(true, &[file, first], "doesn't say what has been removed");
    refused(true, &[file, first, file, removed("")], "doesn't say what has been removed");
    refused(true, &[removed(""), first], "is none of a guest's");
    refused(true, &[first, removed(""), first], "is none of a guest's");
    refused(true, &[first, removed(""), removed("")], "is none of a guest's");
    refused(true, &[first, removed("a")], "has no end");
}

#[test]
fn nothing_is_removed_but_what_is_in_the_root() {
    let tell = |names: &str| {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("victim"), "").unwrap();
        let victim = place.path().join("victim").display().to_string();
        let above = place.path().display().to_string();
        let members = [
            ("root/up@", above.as_bytes()),
            ("root/d/", b""),
            ("root/d/file", b"x"),
            ("root/side@", b"d"),
            (FIRST, b""),
            (REMOVED, names.as_bytes()),
        ];
        let (there, imported) = import(&crafted(true, &members));
        assert!(Path::new(&victim).exists(), "{names}");
        let is_there = there.path().join("root/d/file").exists();
        (imported.map(drop).map_err(|error| error.to_string()), is_there)
    };
    for outside in ["..\0", "../file\0", "d/../../x\0", "/../x\0"] {
        assert!(tell(outside).0.unwrap_err().contains("leads outside"), "{outside}");
    }
    for root in ["\0", "/\0", ".\0", "./\0"] {
        assert!(tell(root).0.unwrap_err().contains("the root itself"), "{root}");
    }
    for link in ["up/victim\0", "side/file\0"] {
        let (refused, is_there) = tell(link);
        assert!(refused.is_err() && is_there, "{link}");
    }
    // The link itself, what isn't there, and what is.
    assert_eq!(tell("up\0side\0nothing\0nothing/x\0d/file/x\0"), (Ok(()), true));
    assert_eq!(tell("/d/file\0"), (Ok(()), false));
    assert_eq!(tell("d\0"), (Ok(()), false));
}
