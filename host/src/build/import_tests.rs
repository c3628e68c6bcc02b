//! What isn't whole, or isn't what was written, is refused.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::PathBuf;

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode};

use super::*;
use crate::archive::write;
use crate::build::host_keys::Keys;
use crate::fsroot::RootDir;
use crate::progress::Progress;

#[path = "import_parts_tests.rs"]
mod parts;

/// The archive of a small guest, and the same without compression.
fn archive() -> (Vec<u8>, Vec<u8>) {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("etc")).unwrap();
    fs::write(tree.path().join("etc/issue"), "hello\n").unwrap();
    fs::hard_link(tree.path().join("etc/issue"), tree.path().join("again")).unwrap();
    let packed = archive_of(tree.path());
    let plain = zstd::decode_all(packed.as_slice()).unwrap();
    (packed, plain)
}

fn archive_of(tree: &Path) -> Vec<u8> {
    written(tree).unwrap()
}

fn written(tree: &Path) -> Result<Vec<u8>> {
    let name = "web".parse().unwrap();
    let head = Head {
        manifest: Manifest::new(name, None, "web".to_owned(), true),
        config: "context = 7\n".to_owned(),
        actions: Some((b"#!/bin/sh\n".to_vec(), 0o700)),
    };
    let mut packed = Vec::new();
    write(&mut packed, 3, &head, Some(&RootDir::open(tree)?), &|| Ok(()), &mut |_| ())?;
    Ok(packed)
}

/// Imports these bytes into a directory.
fn import(bytes: &[u8]) -> (tempfile::TempDir, Result<Head>) {
    let place = tempfile::tempdir().unwrap();
    let (file, root): (PathBuf, _) = (place.path().join("file"), place.path().join("root"));
    fs::write(&file, bytes).unwrap();
    fs::create_dir(&root).unwrap();
    let interrupt = Interrupt::default();
    let imported = Incoming::open(&file, &interrupt).and_then(|incoming| {
        let head = incoming.head().clone();
        let root = RootDir::open(&root)?;
        let (mut progress, mut remarks) = (Progress::silent(), Vec::new());
        let mut work = Work {
            root: &root,
            interrupt: &interrupt,
            progress: &mut progress,
            remarks: &mut remarks,
            keys: Keys::beside(root.path()),
        };
        incoming.fill(&mut work).map(|_| head)
    });
    (place, imported)
}

fn complaint(bytes: &[u8]) -> String {
    import(bytes).1.unwrap_err().to_string()
}

#[test]
fn it_comes_back_as_it_was() {
    let (packed, plain) = archive();
    for bytes in [packed, plain] {
        let (place, head) = import(&bytes);
        let head = head.unwrap();
        assert_eq!(head.config, "context = 7\n");
        assert_eq!(head.actions, Some((b"#!/bin/sh\n".to_vec(), 0o700)));
        let read = |path| fs::read_to_string(place.path().join("root").join(path)).unwrap();
        assert_eq!((read("etc/issue"), read("again")), ("hello\n".into(), "hello\n".into()));
    }
}

/// What any user of a guest may make there doesn't keep it from coming back.
#[test]
fn what_an_overlay_in_a_guest_has_removed_comes_back() {
    let tree = tempfile::tempdir().unwrap();
    let of = |root: &Path, name: &str| root.join(name).symlink_metadata().unwrap();
    let gone = tree.path().join("gone");
    rustix::fs::mknodat(CWD, &gone, FileType::CharacterDevice, Mode::RUSR, 0).unwrap();
    fs::hard_link(&gone, tree.path().join("also")).unwrap();
    let (place, head) = import(&archive_of(tree.path()));
    head.unwrap();
    let root = place.path().join("root");
    let (gone, also) = (of(&root, "gone"), of(&root, "also"));
    assert!(gone.file_type().is_char_device());
    assert_eq!((gone.rdev(), gone.ino(), gone.nlink()), (0, also.ino(), 2));
}

/// The map of a file's holes ends anywhere in its last block.
#[test]
fn any_number_of_holes_comes_back() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("etc")).unwrap();
    let numbers = [1u64, 2, 30, 41, 60, 77, 100, 150, 333];
    for number in numbers {
        let file = fs::File::create(tree.path().join(number.to_string())).unwrap();
        for part in 0..number {
            let byte = u8::try_from(part % 251).unwrap() + 1;
            file.write_all_at(&[byte; 4096], part * 12_288 + 8192).unwrap();
        }
    }
    let place = import(&archive_of(tree.path())).0;
    for number in numbers.map(|number| number.to_string()) {
        let read = |root: &Path| fs::read(root.join(&number)).unwrap();
        assert!(read(tree.path()) == read(&place.path().join("root")), "{number} parts");
    }
}

/// Whoever may make directories in a guest doesn't keep it from being exported.
#[test]
fn what_lies_deeper_than_a_path_may_lead_comes_back() {
    let tree = tempfile::tempdir().unwrap();
    let name = "d".repeat(200);
    let path: PathBuf = std::iter::repeat_n(name.as_str(), 25).collect();
    let from = RootDir::open(tree.path()).unwrap();
    from.create_dir_all(&path, 0o750).unwrap();
    from.write(path.join("one"), b"deep", 0o640).unwrap();
    from.symlink("anywhere", path.join("link")).unwrap();
    let low = from.open_dir(&path).unwrap();
    rustix::fs::linkat(&low, "one", &low, "two", AtFlags::empty()).unwrap();
    let (place, head) = import(&archive_of(tree.path()));
    head.unwrap();
    let to = RootDir::open(&place.path().join("root")).unwrap();
    let mut part = PathBuf::new();
    for component in &path {
        part.push(component);
        assert_eq!(to.stat(&part).unwrap().unwrap().st_mode & 0o7777, 0o750);
    }
    assert_eq!(to.read(path.join("two"), 4).unwrap().as_deref(), Some(&b"deep"[..]));
    assert_eq!(to.read_link(path.join("link")).unwrap().as_deref(), Some(Path::new("anywhere")));
    let [one, two] = ["one", "two"].map(|name| to.stat(path.join(name)).unwrap().unwrap());
    assert_eq!((one.st_ino, one.st_nlink, one.st_mode & 0o7777), (two.st_ino, 2, 0o640));
}

#[test]
fn a_changed_byte_is_found() {
    let (_, mut plain) = archive();
    let at = plain.windows(6).position(|window| window == b"hello\n").unwrap();
    plain[at] = b'H';
    assert!(complaint(&plain).contains("its checksum is another one"));
}

#[test]
fn other_archives_are_refused() {
    assert!(complaint(b"").contains("no archive that 'vserver export' has written"));
    assert!(complaint(&[0; 2048]).contains("no archive"));
    let mut other = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_cksum();
    other.append_data(&mut header, "etc/passwd", Cursor::new(b"")).unwrap();
    assert!(complaint(&other.into_inner().unwrap()).contains("no archive"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_cut_off_is_refused(part in 0.0f64..1.0) {
        let (packed, plain) = archive();
        // Without the zeros at its end an archive is still whole.
        let end = plain.iter().rposition(|byte| *byte != 0).unwrap();
        for (bytes, whole) in [(&packed, packed.len()), (&plain, end)] {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let length = (whole as f64 * part) as usize;
            prop_assert!(import(&bytes[..length]).1.is_err());
        }
    }

    #[test]
    fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (_, mut plain) = archive();
        let at = at.index(plain.len());
        plain[at] = byte;
        let _ = import(&plain);
    }
}
