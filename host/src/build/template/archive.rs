//! Opens a tar archive, with the compression that its first bytes tell; its
//! name tells nothing.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

use crate::build::Interrupt;
use crate::error::{Error, Result};

/// Enough bytes to hold tar's own magic (at offset 257, tar(5)).
const PEEK: usize = 512;

/// An archive ends with blocks of zeros of this size (tar(5)); one that
/// doesn't has been cut off.
const END: u64 = 512;

/// An opened archive.
pub(super) struct Opened {
    archive: tar::Archive<Box<dyn Read>>,
    position: Rc<Cell<u64>>,
    zeros: Rc<Cell<u64>>,
}

/// One entry of it.
pub(super) type Entry<'a> = tar::Entry<'a, Box<dyn Read>>;

/// Opens the archive at a path of the host.
pub(super) fn open(path: &Path, interrupt: &Interrupt) -> Result<Opened> {
    let file = File::open(path).map_err(|cause| Error::os("cannot open it", cause))?;
    let position = Rc::new(Cell::new(0));
    let watched = Watched { file, position: Rc::clone(&position), interrupt: interrupt.clone() };
    let mut source = BufReader::with_capacity(256 * 1024, watched);
    let start = source.fill_buf().map_err(|cause| Error::os("cannot read it", cause))?;
    let start = start.get(..PEEK.min(start.len())).unwrap_or_default().to_vec();
    let plain = decoder(source, &start)?;
    let zeros = Rc::new(Cell::new(0));
    let plain = ZeroCounter { plain, zeros: Rc::clone(&zeros) };
    Ok(Opened { archive: tar::Archive::new(Box::new(plain)), position, zeros })
}

fn decoder(source: BufReader<Watched>, start: &[u8]) -> Result<Box<dyn Read>> {
    let unsupported = |what: &str| {
        Err(Error::new(format!("{what} isn't understood"))
            .hint("tar, plain or compressed with gzip, xz or zstd, is"))
    };
    match start {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(source))),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Box::new(XzDecoder::new_multi_decoder(source))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::Decoder::with_buffer(source);
            let decoder = decoder.map_err(|cause| Error::os("cannot decompress", cause))?;
            Ok(Box::new(decoder))
        }
        [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
        [b'P', b'K', 3, 4, ..] => unsupported("zip"),
        _ if start.get(257..262) == Some(b"ustar") => Ok(Box::new(source)),
        _ => unsupported("its form"),
    }
}

impl Opened {
    /// Hands over every entry, with the position in the (compressed) file.
    ///
    /// # Errors
    /// When the archive is damaged or cut off, or `work` fails.
    pub(super) fn entries(
        mut self,
        mut work: impl FnMut(&mut Entry<'_>, u64) -> Result<()>,
    ) -> Result<()> {
        let damaged = |cause| Error::os("the archive is damaged", cause);
        for entry in self.archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            work(&mut entry, self.position.get())?;
        }
        if self.zeros.get() < END {
            return Err(Error::new("the archive is cut off"));
        }
        Ok(())
    }
}

/// Counts what is read, and ends with an error once the build is interrupted.
struct Watched {
    file: File,
    position: Rc<Cell<u64>>,
    interrupt: Interrupt,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not ErrorKind::Interrupted, after which readers try again.
        self.interrupt.check().map_err(|error| io::Error::other(error.to_string()))?;
        let length = self.file.read(buffer)?;
        self.position.set(self.position.get() + length as u64);
        Ok(length)
    }
}

/// Counts the zeros at the end of what was read so far.
struct ZeroCounter {
    plain: Box<dyn Read>,
    zeros: Rc<Cell<u64>>,
}

impl Read for ZeroCounter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.plain.read(buffer)?;
        let read = buffer.get(..length).unwrap_or_default();
        let zeros = read.iter().rev().take_while(|byte| **byte == 0).count();
        let before = if zeros == length { self.zeros.get() } else { 0 };
        self.zeros.set(before + zeros as u64);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write;

    fn tar_of(files: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for file in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(600);
            header.set_mode(0o644);
            builder.append_data(&mut header, file, &[7u8; 600][..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn names(bytes: &[u8]) -> Result<Vec<String>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut names = Vec::new();
        open(file.path(), &Interrupt::default())?.entries(|entry, _| {
            names.push(entry.path().unwrap().display().to_string());
            Ok(())
        })?;
        Ok(names)
    }

    #[test]
    fn every_compression_is_told_by_its_first_bytes() {
        let plain = tar_of(&["a", "b"]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        for packed in [plain, gzip.finish().unwrap(), xz.finish().unwrap(), zstd] {
            assert_eq!(names(&packed).unwrap(), ["a", "b"]);
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        for bytes in [&b"BZh9"[..], b"PK\x03\x04", b"", b"#!/bin/sh\n"] {
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
    }
}
