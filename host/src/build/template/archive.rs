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

/// An opened archive.
pub(super) struct Opened {
    archive: tar::Archive<Box<dyn Read>>,
    position: Rc<Cell<u64>>,
}

/// One entry of it.
pub(super) type Entry<'a> = tar::Entry<'a, Box<dyn Read>>;

/// Opens the archive at a path of the host.
pub(super) fn open(path: &Path, interrupt: &Interrupt) -> Result<Opened> {
    let failed = |cause| Error::path("open", path, cause);
    let file = File::open(path).map_err(failed)?;
    let position = Rc::new(Cell::new(0));
    let watched = Watched { file, position: Rc::clone(&position), interrupt: interrupt.clone() };
    let mut source = BufReader::with_capacity(256 * 1024, watched);
    let start = source.fill_buf().map_err(failed)?;
    let start = start.get(..PEEK.min(start.len())).unwrap_or_default().to_vec();
    let plain = decoder(source, &start)
        .map_err(|error| error.context(format_args!("cannot extract '{}'", path.display())))?;
    let mut archive = tar::Archive::new(plain);
    archive.set_ignore_zeros(false);
    Ok(Opened { archive, position })
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
