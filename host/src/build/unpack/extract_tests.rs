//! Archives made to harm: whatever they hold, nothing outside the root
//! changes.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::super::shift::NOBODY;
use super::*;

/// An entry to be made, with names as they are in the archive.
#[derive(Clone, Debug)]
struct Made {
    kind: EntryType,
    name: String,
    link: String,
    data: Vec<u8>,
    mode: u32,
    device: (u32, u32),
}

fn made(kind: EntryType, name: &str, link: &str) -> Made {
    let data = if kind == EntryType::Regular { b"evil".to_vec() } else { Vec::new() };
    let (name, link) = (name.to_owned(), link.to_owned());
    Made { kind, name, link, data, mode: 0o755, device: (1, 3) }
}

/// What an overlay has in the place of a removed file.
fn whiteout(name: &str) -> Made {
    Made { device: (0, 0), ..made(EntryType::Char, name, "") }
}

fn file(name: &str) -> Made {
    made(EntryType::Regular, name, "")
}

fn link(name: &str, target: &str) -> Made {
    made(EntryType::Symlink, name, target)
}

fn archive(entries: &[Made]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        // The crate's own setters refuse what we want to write.
        let old = header.as_old_mut();
        old.name[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        old.linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_size(entry.data.len() as u64);
        header.set_mode(entry.mode);
        header.set_uid(u64::from(rustix::process::getuid().as_raw()));
        header.set_gid(u64::from(rustix::process::getgid().as_raw()));
        header.set_mtime(1_000_000);
        header.set_device_major(entry.device.0).unwrap();
        header.set_device_minor(entry.device.1).unwrap();
        header.set_cksum();
        builder.append(&header, entry.data.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A root beside a directory with a file that nobody may touch.
struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        std::fs::write(directory.path().join("outside/secret"), "untouched").unwrap();
        Self { directory }
    }

    fn outside(&self) -> String {
        self.directory.path().join("outside").to_str().unwrap().to_owned()
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// What can be seen of everything outside the root.
    fn fingerprint(&self) -> Vec<(PathBuf, u32, u64, i64)> {
        let top = std::fs::read_dir(self.directory.path()).unwrap();
        let outside = std::fs::read_dir(self.outside()).unwrap();
        let mut seen: Vec<_> = top
            .chain(outside)
            .map(|entry| entry.unwrap().path())
            .filter(|path| *path != self.root())
            .map(|path| {
                let metadata = path.symlink_metadata().unwrap();
                (path, metadata.mode(), metadata.nlink(), metadata.ctime_nsec())
            })
            .collect();
        seen.sort();
        seen
    }

    fn extract(&self, entries: &[Made]) -> Result<LeftOut> {
        self.extract_bytes(archive(entries))
    }

    fn extract_bytes(&self, bytes: Vec<u8>) -> Result<LeftOut> {
        let before = self.fingerprint();
        let root = RootDir::open(&self.root()).unwrap();
        let interrupt = Interrupt::default();
        let mut extractor = Extractor::new(&root, &interrupt, None);
        let plain = Box::new(io::Cursor::new(bytes));
        let walked = super::super::walk(plain, &mut |entry, data| extractor.extract(&entry, data));
        let result = walked.and_then(|()| extractor.finish());
        assert_eq!(before, self.fingerprint(), "something outside the root changed");
        assert_eq!(std::fs::read(self.outside() + "/secret").unwrap(), b"untouched");
        result
    }
}

#[test]
fn a_tree_is_extracted_with_permissions_and_times() {
    let scene = Scene::new();
    let mut program = file("./usr/bin/su");
    program.mode = 0o4755;
    let mut closed = made(EntryType::Directory, "./root/", "");
    closed.mode = 0o500;
    let entries = [
        made(EntryType::Directory, "./", ""),
        closed,
        file("./root/file"),
        program,
        link("./bin", "usr/bin"),
        file("./bin/sh"),
        made(EntryType::Link, "./usr/bin/dash", "./usr/bin/sh"),
        made(EntryType::Fifo, "./run/fifo", ""),
    ];
    scene.extract(&entries).unwrap();
    let of = |path: &str| scene.root().join(path).symlink_metadata().unwrap();
    assert_eq!(of("usr/bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(of("usr/bin/su").mtime(), 1_000_000);
    assert_eq!(of("root").mode() & 0o7777, 0o500);
    assert_eq!(of("root").mtime(), 1_000_000);
    assert_eq!(of("usr/bin/sh").ino(), of("usr/bin/dash").ino());
    assert!(of("run/fifo").file_type().is_fifo());
    assert!(of("bin").is_symlink());
    std::fs::set_permissions(scene.root().join("root"), PermissionsExt::from_mode(0o700)).unwrap();
}

/// An archive of empty entries that have this in a pax header.
fn with_extension(entries: &[(EntryType, &str)], key: &str, value: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name) in entries {
        builder.append_pax_extensions([(key, value)]).unwrap();
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_path(name).unwrap();
        if *kind == EntryType::Symlink {
            header.set_link_name("anywhere").unwrap();
        }
        header.set_size(0);
        header.set_mode(0o664);
        header.set_uid(u64::from(rustix::process::getuid().as_raw()));
        header.set_gid(u64::from(rustix::process::getgid().as_raw()));
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Or its group would have what is the mask.
#[test]
fn a_fifo_has_its_access_list() {
    let scene = Scene::new();
    let list = b"user::rw-,user:1000:rw-,group::r--,mask::rw-,other::r--";
    let entries = [(EntryType::Fifo, "fifo"), (EntryType::Regular, "file")];
    let left_out = scene.extract_bytes(with_extension(&entries, "SCHILY.acl.access", list));
    let left_out = left_out.unwrap();
    let of = |name: &str| {
        let mut value = [0u8; 256];
        fs::getxattr(scene.root().join(name), "system.posix_acl_access", &mut value)
            .map(|length| value[..length].to_vec())
    };
    match of("file") {
        Ok(list) => assert_eq!(of("fifo").unwrap(), list),
        // Not every file system has them.
        Err(_) => assert_eq!(left_out.without_attributes(), 2),
    }
}

/// What is left out never meets a file system that would refuse it.
#[test]
fn names_that_no_file_can_have_are_refused() {
    let scene = Scene::new();
    let long =
        |length: usize| with_extension(&[(EntryType::Char, "x")], "path", &vec![b'a'; length]);
    scene.extract_bytes(long(LONGEST_NAME)).unwrap();
    let error = scene.extract_bytes(long(LONGEST_NAME + 1)).unwrap_err();
    assert!(error.to_string().contains("longer than the 255 bytes"), "{error}");
    let path = "a/".repeat(crate::archive::LONGEST_PATH);
    let entries = with_extension(&[(EntryType::Char, "x")], "path", path.as_bytes());
    let error = scene.extract_bytes(entries).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_value_that_no_attribute_can_have_is_left_out() {
    let scene = Scene::new();
    let entries = [(EntryType::Directory, "d"), (EntryType::Regular, "f")];
    let value = vec![b'x'; 100_000];
    let left_out = scene.extract_bytes(with_extension(&entries, "SCHILY.xattr.user.big", &value));
    let said: Vec<_> = super::super::remarks(&left_out.unwrap()).collect();
    assert_eq!(said, ["some attributes are left out: 'd', 'f'"]);
}

/// Neither the group's mask nor what new files take over from a directory comes early.
#[test]
fn a_directory_has_its_attributes_and_files_in_it_have_not() {
    let scene = Scene::new();
    let mut bytes = with_extension(&[(EntryType::Directory, "d")], "SCHILY.xattr.user.a", b"b");
    let list = b"user::rwx,user:1000:rwx,group::rwx,mask::rwx,other::---";
    let entries = [(EntryType::Directory, "d/e")];
    for more in [with_extension(&entries, "SCHILY.acl.default", list), archive(&[file("d/e/f")])] {
        bytes.truncate(bytes.len() - 1024);
        bytes.extend(more);
    }
    scene.extract_bytes(bytes).unwrap();
    let of = |path: &str, name: &str| {
        let mut value = [0u8; 256];
        fs::getxattr(scene.root().join(path), name, &mut value).map(|at| value[..at].to_vec())
    };
    if let Ok(value) = of("d", "user.a") {
        assert_eq!(value, b"b");
    }
    assert!(of("d/e/f", "system.posix_acl_access").is_err());
}

/// However little they take in the archive.
#[test]
fn what_is_remembered_has_a_bound() {
    let scene = Scene::new();
    let root = RootDir::open(&scene.root()).unwrap();
    let interrupt = Interrupt::default();
    let mut extractor = Extractor::new(&root, &interrupt, None);
    let entry = Entry {
        name: Vec::new(),
        kind: Kind::Directory,
        user: 0,
        group: 0,
        mode: 0o755,
        modified: (0, 0),
        attributes: Vec::new(),
        lists: Vec::new(),
        has_more: false,
    };
    let (short, long) = (PathBuf::from("a".repeat(200)), PathBuf::from("a/".repeat(1 << 17)));
    for _ in 0..1 << 20 {
        extractor.count_kept(&entry, &short).unwrap();
    }
    let fits = (0..1 << 20).take_while(|_| extractor.count_kept(&entry, &long).is_ok()).count();
    assert_eq!(fits, MOST_KEPT / ((1 << 18) - ORDINARY));
    for number in 0..MOST_ABSENT + 10 {
        extractor.leave_out(DEVICES, Path::new(&number.to_string()));
    }
    assert_eq!(extractor.absent.len(), MOST_ABSENT);
}

/// Only files and directories have those of users (xattr(7)).
#[test]
fn attributes_without_a_place_are_counted() {
    let scene = Scene::new();
    let entries = [(EntryType::Fifo, "fifo"), (EntryType::Symlink, "link")];
    let left_out =
        scene.extract_bytes(with_extension(&entries, "SCHILY.xattr.user.colour", b"green"));
    let said: Vec<_> = super::super::remarks(&left_out.unwrap()).collect();
    let why = "because the file system has no place for them";
    assert_eq!(said, [format!("2 files have lost attributes, {why}")]);
    assert!(scene.root().join("link").is_symlink());
}

#[test]
fn a_file_through_a_link_stays_inside() {
    let scene = Scene::new();
    let outside = scene.outside();
    // The kernel looks for the link's target inside the root.
    let entries = [link("x", &outside), file("x/secret")];
    assert!(scene.extract(&entries).is_err());
    let scene = Scene::new();
    let entries = [link("x", "../outside"), file("x/secret")];
    assert!(scene.extract(&entries).is_err());
    let scene = Scene::new();
    let entries = [link("a", "/"), file("a/etc")];
    scene.extract(&entries).unwrap();
    assert!(scene.root().join("etc").is_file());
}

#[test]
fn a_link_of_the_name_is_replaced_and_not_written_through() {
    let scene = Scene::new();
    let target = scene.outside() + "/secret";
    scene.extract(&[link("x", &target), file("x")]).unwrap();
    assert_eq!(std::fs::read(scene.root().join("x")).unwrap(), b"evil");
    scene.extract(&[link("d", &scene.outside()), made(EntryType::Directory, "d", "")]).unwrap();
    assert!(scene.root().join("d").symlink_metadata().unwrap().is_dir());
}

#[test]
fn names_that_lead_upwards_end_the_extraction() {
    for name in ["../x", "a/../../x", "..", "/../x"] {
        let scene = Scene::new();
        let error = scene.extract(&[file("ok"), file(name)]).unwrap_err();
        assert!(error.to_string().contains("leads outside"), "{error}");
        let error = scene.extract(&[file("ok"), made(EntryType::Link, "h", name)]).unwrap_err();
        assert!(error.to_string().contains("leads outside"), "{error}");
    }
}

#[test]
fn absolute_names_are_taken_from_the_root() {
    let scene = Scene::new();
    let name = scene.outside() + "/secret";
    scene.extract(&[file("/etc/x"), file(&name)]).unwrap();
    assert!(scene.root().join("etc/x").is_file());
    let scene = Scene::new();
    assert!(scene.extract(&[made(EntryType::Link, "h", &name)]).is_err());
}

#[test]
fn a_hard_link_is_to_the_link_and_not_to_its_target() {
    let scene = Scene::new();
    let target = scene.outside() + "/secret";
    scene.extract(&[link("x", &target), made(EntryType::Link, "y", "x"), file("y")]).unwrap();
    assert!(scene.root().join("x").is_symlink());
}

#[test]
fn devices_are_left_out_and_named() {
    let scene = Scene::new();
    let mut entries =
        [made(EntryType::Char, "dev/null", ""), made(EntryType::Block, "dev/sda", "")];
    entries[0].mode = 0o666;
    let left_out = scene.extract(&entries).unwrap();
    let named: Vec<_> = left_out.by_reason().collect();
    assert_eq!(
        named,
        [("device nodes are left out", &["'dev/null'".into(), "'dev/sda'".into()][..])]
    );
    assert!(!scene.root().join("dev/null").exists());
}

#[test]
fn further_names_of_devices_are_left_out_too() {
    let scene = Scene::new();
    let second = |name, of| made(EntryType::Link, name, of);
    let entries = [
        made(EntryType::Char, "a", ""),
        second("b", "a"),
        second("c", "./b"),
        made(EntryType::Block, "d", ""),
        file("d"),
        second("e", "d"),
    ];
    let left_out = scene.extract(&entries).unwrap();
    let paths: Vec<_> = left_out.by_reason().flat_map(|(_, paths)| paths).collect();
    assert_eq!(paths, ["'a'", "'d'", "'b'", "'c'"]);
    let of = |path: &str| scene.root().join(path).metadata().unwrap().ino();
    assert_eq!(of("d"), of("e"));
    assert_eq!(std::fs::read_dir(scene.root()).unwrap().count(), 2);
}

/// Any user may make one, and an overlay in a guest is full of them.
#[test]
fn what_says_that_a_file_was_removed_is_no_device() {
    let scene = Scene::new();
    let mut first = whiteout("layer/gone");
    first.mode = 0o640;
    let entries = [first, made(EntryType::Link, "layer/also", "layer/gone"), whiteout("x")];
    let left_out = scene.extract(&entries).unwrap();
    assert_eq!(left_out.by_reason().count(), 0, "{left_out:?}");
    let of = |path: &str| scene.root().join(path).symlink_metadata().unwrap();
    let gone = of("layer/gone");
    assert!(gone.file_type().is_char_device() && of("x").file_type().is_char_device());
    assert_eq!((gone.rdev(), gone.mode() & 0o7777, gone.mtime()), (0, 0o640, 1_000_000));
    assert_eq!((gone.ino(), gone.nlink()), (of("layer/also").ino(), 2));
}

#[test]
fn zeros_become_holes() {
    let scene = Scene::new();
    let mut sparse = file("sparse");
    sparse.data = vec![0; 1 << 20];
    sparse.data.push(1);
    scene.extract(&[sparse.clone()]).unwrap();
    let written = scene.root().join("sparse");
    assert_eq!(std::fs::read(&written).unwrap(), sparse.data);
    assert!(written.metadata().unwrap().blocks() < 64);
}

#[test]
fn owners_beyond_the_guests_ids_become_nobody() {
    let mut header = Header::new_gnu();
    header.set_path("x").unwrap();
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(4_000_000_000);
    header.set_gid(u64::MAX);
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, io::empty()).unwrap();
    let scene = Scene::new();
    // Only root can give files away.
    if rustix::process::geteuid().is_root() {
        scene.extract_bytes(builder.into_inner().unwrap()).unwrap();
        assert_eq!(scene.root().join("x").metadata().unwrap().uid(), NOBODY);
    }
}

#[test]
fn huge_names_fail_without_harm() {
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    let long = "d/".repeat(5000) + "x";
    builder.append_data(&mut header, &long, &b"evil"[..]).unwrap();
    let scene = Scene::new();
    let error = scene.extract_bytes(builder.into_inner().unwrap()).unwrap_err().to_string();
    assert!(error.contains("more than 1000 directories"), "{error}");
    assert_eq!(std::fs::read_dir(scene.root()).unwrap().count(), 0);
    let long = "d".repeat(5000);
    assert!(
        scene
            .extract_bytes(with_extension(&[(EntryType::Fifo, "x")], "path", long.as_bytes()))
            .is_err()
    );
}

fn any_name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("c"),
        Just(".."),
        Just("."),
        Just(""),
        Just("outside"),
        Just("secret")
    ];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn any_kind() -> impl Strategy<Value = EntryType> {
    prop_oneof![
        3 => Just(EntryType::Regular),
        3 => Just(EntryType::Symlink),
        2 => Just(EntryType::Link),
        2 => Just(EntryType::Directory),
        1 => Just(EntryType::Fifo),
        1 => Just(EntryType::Char),
    ]
}

fn any_entry() -> impl Strategy<Value = Made> {
    (any_kind(), any_name(), any_name(), any::<bool>(), 0u32..0o10000, 0u32..2).prop_map(
        |(kind, name, link, climbs, mode, minor)| {
            let link = if climbs { format!("../../{link}") } else { link };
            Made { mode, device: (0, minor), ..made(kind, &name, &link) }
        },
    )
}

proptest! {
    #[test]
    fn no_archive_touches_anything_outside(entries in prop::collection::vec(any_entry(), 1..12)) {
        // Entries that climb end an extraction, so most must not.
        let tame = |entry: &Made| !entry.name.split('/').any(|part| part == "..");
        let scene = Scene::new();
        let _ = scene.extract(&entries.iter().filter(|e| tame(e)).cloned().collect::<Vec<_>>());
        let _ = scene.extract(&entries);
    }

    #[test]
    fn a_damaged_archive_does_no_harm(
        entries in prop::collection::vec(any_entry(), 1..6),
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = archive(&entries);
        let position = position.index(bytes.len());
        bytes[position] = byte;
        let scene = Scene::new();
        let _ = scene.extract_bytes(bytes);
    }
}
