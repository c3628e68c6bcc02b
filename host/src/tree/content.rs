//! The bytes of a file: shared where the file system can (ioctl_ficlone(2)),
//! else copied, with its holes.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self, SeekFrom};
use rustix::io::Errno;

use super::Check;

/// Between two questions whether the work shall end.
const PIECE: usize = 64 * 1024 * 1024;

/// How a file's bytes came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Both files have the same blocks until one is written to.
    Shared,
    /// Block by block.
    Copied,
}

/// Copies a whole file into an empty one, with its holes.
///
/// # Errors
/// Those of reading and writing, or when `check` says no.
pub fn copy_file(from: &File, to: &File, check: Check<'_>) -> io::Result<()> {
    copy(from, to, from.metadata()?.len(), check).map(drop)
}

/// Copies a file of `length` bytes into an empty one.
pub(super) fn copy(from: &File, to: &File, length: u64, check: Check<'_>) -> io::Result<How> {
    if length > 0 && fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(How::Shared);
    }
    let mut at = 0;
    while at < length {
        // A file system that knows of no holes says that all is data.
        let start = match fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(cause) => return Err(cause.into()),
        };
        let end = match fs::seek(from, SeekFrom::Hole(start)) {
            Ok(end) => end.min(length),
            // Somebody has made it shorter.
            Err(Errno::NXIO) => break,
            Err(cause) => return Err(cause.into()),
        };
        let mut position = start;
        while position < end {
            check().map_err(|error| io::Error::other(error.to_string()))?;
            let copied = piece(from, to, position, end)?;
            if copied == 0 {
                break;
            }
            position += copied;
        }
        at = end.max(start + 1);
    }
    fs::ftruncate(to, length)?;
    Ok(How::Copied)
}

/// Copies a piece of what lies between two positions; gives its length, 0 if
/// the file has become shorter.
fn piece(from: &File, to: &File, position: u64, end: u64) -> io::Result<u64> {
    let length = usize::try_from(end - position).map_or(PIECE, |rest| rest.min(PIECE));
    let (mut source, mut target) = (position, position);
    let copied = loop {
        let copied = fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), length);
        match copied {
            Err(Errno::INTR) => {}
            // Between file systems, and on those that can't.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::TXTBSY) => {
                break by_hand(from, to, position, length)?;
            }
            other => break other?,
        }
    };
    Ok(copied as u64)
}

fn by_hand(from: impl AsFd, to: impl AsFd, position: u64, length: usize) -> io::Result<usize> {
    let mut buffer = vec![0u8; length.min(1024 * 1024)];
    let read = rustix::io::pread(from, buffer.as_mut_slice(), position)?;
    let mut written = 0;
    while let Some(rest) = buffer.get(written..read).filter(|rest| !rest.is_empty()) {
        written += rustix::io::pwrite(&to, rest, position + written as u64)?;
    }
    Ok(read)
}
