//! Where an archive's bytes come from: a file or standard input, watched for
//! an interrupt, with the compression taken off that the first bytes tell. A
//! file's name tells nothing.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use lz4_flex::frame::FrameDecoder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Enough bytes to tell a compression.
const MAGIC: usize = 8;

/// How often an interrupt is looked for while nothing comes in.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Opens a file of the host, or standard input for `-`.
///
/// # Errors
/// When it can't be opened.
pub(in crate::build) fn input(path: &Path) -> Result<File> {
    let opened = if path == Path::new("-") {
        // A descriptor of our own, so that dropping it closes nothing.
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    opened.map_err(|cause| Error::os("cannot open it", cause))
}

/// Takes the compression off, if there is one.
///
/// # Errors
/// When it can't be read.
pub(in crate::build) fn decompressed(mut source: impl Read + 'static) -> Result<Box<dyn Read>> {
    let mut head = vec![0; MAGIC];
    let length =
        fill(&mut source, &mut head).map_err(|cause| Error::os("cannot read it", cause))?;
    head.truncate(length);
    let start = head.clone();
    let whole = BufReader::with_capacity(256 * 1024, io::Cursor::new(head).chain(source));
    Ok(match start.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(whole)),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Box::new(MultiBzDecoder::new(whole)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(XzDecoder::new_multi_decoder(whole)),
        [0x04, 0x22, 0x4d, 0x18, ..] => Box::new(FrameDecoder::new(whole)),
        // What pzstd(1) begins with may be passed over (RFC 8878, 3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let decoder = zstd::Decoder::with_buffer(whole);
            Box::new(decoder.map_err(|cause| Error::os("cannot decompress", cause))?)
        }
        _ => Box::new(whole),
    })
}

/// How far a reader is.
pub(in crate::build) type Counted = Rc<Cell<u64>>;

/// Counts what is read, and ends with an error once the build is interrupted,
/// also while nothing comes in.
pub(in crate::build) struct Watched {
    file: File,
    position: Counted,
    interrupt: Interrupt,
}

impl Watched {
    /// Reads this file, and adds to `position`.
    pub(in crate::build) fn new(file: File, position: &Counted, interrupt: &Interrupt) -> Self {
        Self { file, position: Rc::clone(position), interrupt: interrupt.clone() }
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Not ErrorKind::Interrupted, after which readers try again.
            self.interrupt.check().map_err(|error| io::Error::other(error.to_string()))?;
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&PAUSE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => break,
                Err(cause) => return Err(cause.into()),
            }
        }
        let length = self.file.read(buffer)?;
        self.position.set(self.position.get() + length as u64);
        Ok(length)
    }
}

/// Reads until the buffer is full or the end is reached.
pub(in crate::build) fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(length)
}
