//! Whole archives of every form and compression, and damaged ones.

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

use crate::fsroot::RootDir;
use crate::interrupt::Interrupt;

use super::*;

fn tar_of(files: &[&str]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(600);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        builder.append_data(&mut header, file, &[7u8; 600][..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn cpio_of(files: &[&str]) -> Vec<u8> {
    let entry = |name: &&str| {
        let builder = cpio::newc::Builder::new(name).mode(0o100_644);
        (builder, io::Cursor::new(vec![7u8; 600]))
    };
    cpio::write_cpio(files.iter().map(entry), Vec::new()).unwrap()
}

fn names(bytes: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let plain = decompressed(io::Cursor::new(bytes.to_vec()))?;
    walk(plain, &mut |entry, _| {
        names.push(String::from_utf8(entry.name).unwrap());
        Ok(())
    })?;
    Ok(names)
}

#[test]
fn every_compression_is_told_by_its_first_bytes() {
    for plain in [tar_of(&["a", "b"]), cpio_of(&["a", "b"])] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        // As of pzstd(1): a frame to be passed over says how long the next one is.
        let frame = [&b"\x50\x2a\x4d\x18\x04\0\0\0"[..], &(zstd.len() as u32).to_le_bytes()];
        let pzstd = [frame.concat(), zstd.clone()].concat();
        let (gzip, bzip2) = (gzip.finish().unwrap(), bzip2.finish().unwrap());
        let (xz, lz4) = (xz.finish().unwrap(), lz4.finish().unwrap());
        for packed in [plain, gzip, bzip2, xz, lz4, zstd, pzstd] {
            assert_eq!(names(&packed).unwrap(), ["a", "b"]);
        }
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    for bytes in [&b"BZh9"[..], b"PK\x03\x04", b"", b"#!/bin/sh\n", b"070707", b"\xc7\x71"] {
        assert!(names(bytes).is_err(), "{bytes:?} was taken");
    }
}

#[test]
fn a_cut_off_archive_is_noticed_wherever_it_is_cut() {
    let whole = tar_of(&["a", "b"]);
    // Two blocks of zeros stand at the end; one is enough.
    for length in (512..=whole.len() - 1024).step_by(256) {
        assert!(names(&whole[..length]).is_err(), "cut at {length}");
    }
    let whole = cpio_of(&["a", "b"]);
    let trailer = whole.windows(10).position(|part| part == b"TRAILER!!!").unwrap();
    for length in (1..=trailer).step_by(50) {
        assert!(names(&whole[..length]).is_err(), "cut at {length}");
    }
}

/// Packs a directory by the host's own tool, and gives what comes out.
fn packed(script: &str, make: &str) -> (tempfile::TempDir, LeftOut) {
    let scene = tempfile::tempdir().unwrap();
    let script = format!("set -e\nmkdir in out\ncd in\n{make}\n{script}");
    let ran = Command::new("sh").args(["-c", &script]).current_dir(scene.path()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let root = RootDir::open(&scene.path().join("out")).unwrap();
    let interrupt = Interrupt::default();
    let mut extractor = Extractor::new(&root, &interrupt, None);
    let file = std::fs::File::open(scene.path().join("archive")).unwrap();
    let plain = decompressed(Watched::new(file, &Counted::default(), &interrupt)).unwrap();
    walk(plain, &mut |entry, data| extractor.extract(&entry, data)).unwrap();
    let left_out = extractor.finish().unwrap();
    (scene, left_out)
}

#[test]
fn gnu_tar_keeps_holes_and_fractions_in_every_form() {
    for form in ["gnu", "posix --sparse-version=1.0"] {
        let make = "printf x >sparse && truncate -s 8M sparse && printf y >>sparse
            touch -d '2020-02-02 02:02:02.25' file && ln file second";
        let pack = format!("tar --format={form} -S -cf ../archive .");
        let (scene, _) = packed(&pack, make);
        let out = scene.path().join("out");
        let (read, made) = (std::fs::read(out.join("sparse")).unwrap(), out.join("sparse"));
        assert_eq!((read.len(), read[0], read[8 << 20]), ((8 << 20) + 1, b'x', b'y'), "{form}");
        assert!(made.metadata().unwrap().blocks() < 64, "{form} has lost the hole");
        let [file, second] = ["file", "second"].map(|name| out.join(name).metadata().unwrap());
        assert_eq!(file.ino(), second.ino());
        let fraction = if form == "gnu" { 0 } else { 250_000_000 };
        assert_eq!(file.mtime_nsec(), fraction);
    }
}

#[test]
fn directories_of_an_incremental_archive_are_as_they_were() {
    let make = "mkdir -p srv/data empty && printf x >srv/data/file && chmod 700 srv
        chmod 1777 empty && touch -d '2020-02-02 02:02:02' srv";
    let (scene, left_out) = packed("tar --listed-incremental=../list -cf ../archive .", make);
    let out = scene.path().join("out");
    let [srv, empty] = ["srv", "empty"].map(|name| out.join(name).metadata().unwrap());
    assert_eq!((srv.mode() & 0o7777, empty.mode() & 0o7777), (0o700, 0o1777));
    assert_eq!(srv.mtime(), 1_580_608_922);
    assert_eq!(std::fs::read(out.join("srv/data/file")).unwrap(), b"x");
    assert_eq!(left_out.by_reason().count(), 0);
}

#[test]
fn a_further_volume_is_refused() {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_entry_type(tar::EntryType::new(b'M'));
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "file", &b""[..]).unwrap();
    let error = names(&builder.into_inner().unwrap()).unwrap_err().to_string();
    assert!(error.contains("further volume"), "{error}");
}

#[test]
fn a_tree_of_another_user_than_root_is_told() {
    let of = |owner: &str| {
        let pack = format!("tar --owner={owner} --group={owner} -cf ../archive .");
        let left_out = packed(&pack, "mkdir etc").1;
        left_out.by_reason().map(|(why, _)| why).collect::<Vec<_>>()
    };
    assert!(of("0").is_empty());
    assert_eq!(of("10000"), ["directories at the top aren't root's, and stay so"]);
}

/// A cpio of one file, in the form that has sums.
fn summed(name: &[u8], data: &[u8], sum: u32) -> Vec<u8> {
    let number = |value: usize| format!("{value:08X}");
    let zero = number(0);
    let mut bytes = b"070702".to_vec();
    for field in [&number(1), &number(0o100_644), &zero, &zero, &number(1), &zero] {
        bytes.extend(field.bytes());
    }
    let device = [zero.as_str(); 4].concat();
    let rest = [number(data.len()), device, number(name.len() + 1), format!("{sum:08X}")];
    bytes.extend(rest.concat().bytes());
    bytes.extend([name, b"\0"].concat());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    cpio::newc::trailer(bytes).unwrap()
}

#[test]
fn names_in_a_cpio_are_bytes_and_its_sums_are_compared() {
    let read = |bytes: Vec<u8>| {
        let mut names = Vec::new();
        walk(Box::new(io::Cursor::new(bytes)), &mut |entry, _| {
            names.push(entry.name);
            Ok(())
        })?;
        Ok::<_, Error>(names)
    };
    let sum = u32::from(b'a') + u32::from(b'b');
    assert_eq!(read(summed(b"caf\xe9", b"ab", sum)).unwrap(), [b"caf\xe9"]);
    let error = read(summed(b"file", b"ab", sum + 1)).unwrap_err().to_string();
    assert!(error.contains("another sum"), "{error}");
    // No digits, and a name without end.
    let good = summed(b"file", b"ab", sum);
    for (at, byte) in [(20, b'+'), (97, b'x'), (114, b'x')] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(read(bad).is_err(), "{at}");
    }
}

#[test]
fn all_names_of_a_file_in_a_cpio_are_one_file() {
    let scene = tempfile::tempdir().unwrap();
    let entry = |name: &str, ino: u32, data: &'static [u8]| {
        let builder = cpio::newc::Builder::new(name).mode(0o100_644).ino(ino).nlink(2);
        (builder, data)
    };
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    let whiteout = |name: &str| {
        let builder = cpio::newc::Builder::new(name).mode(0o020_644).ino(4).nlink(2);
        (builder, &b""[..])
    };
    let entries = [
        whiteout("gone-a"),
        whiteout("gone-b"),
        entry("last-a", 1, b""),
        entry("last-b", 1, b"data"),
        entry("first-a", 2, b"data"),
        entry("first-b", 2, b""),
        entry("empty-a", 3, b""),
        entry("empty-b", 3, b""),
    ];
    let mut bytes = Vec::new();
    for (builder, data) in entries {
        let mut writer = builder.uid(uid).gid(gid).write(bytes, data.len() as u32);
        writer.write_all(data).unwrap();
        bytes = writer.finish().unwrap();
    }
    let bytes = cpio::newc::trailer(bytes).unwrap();
    let root = RootDir::open(scene.path()).unwrap();
    let interrupt = Interrupt::default();
    let mut extractor = Extractor::new(&root, &interrupt, None);
    let plain = Box::new(io::Cursor::new(bytes));
    walk(plain, &mut |entry, data| extractor.extract(&entry, data)).unwrap();
    assert_eq!(extractor.finish().unwrap().by_reason().count(), 0);
    let [a, b] = ["gone-a", "gone-b"].map(|name| scene.path().join(name).metadata().unwrap());
    assert!(a.file_type().is_char_device() && a.ino() == b.ino());
    for (name, data) in [("last", "data"), ("first", "data"), ("empty", "")] {
        let [a, b] = ["a", "b"].map(|end| scene.path().join(format!("{name}-{end}")));
        assert_eq!(std::fs::read_to_string(&a).unwrap(), data);
        assert_eq!(a.metadata().unwrap().ino(), b.metadata().unwrap().ino());
    }
}
