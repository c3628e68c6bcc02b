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
        let (gzip, bzip2) = (gzip.finish().unwrap(), bzip2.finish().unwrap());
        for packed in [plain, gzip, bzip2, xz.finish().unwrap(), lz4.finish().unwrap(), zstd] {
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
