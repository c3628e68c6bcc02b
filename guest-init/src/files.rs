//! Bounded reading of the guest's files.
//!
//! The files belong to the guest's root, who may put anything in their place:
//! a FIFO, a device, a file without end. PID 1 must neither block on them nor
//! grow by them, so only regular files are read, and only up to a limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

/// Opens a regular file for reading; anything else is an error.
///
/// # Errors
/// That of open(2), or `InvalidInput` for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// The first `limit` bytes of a regular file as text; bytes that are not
/// UTF-8 are replaced.
///
/// # Errors
/// As [`open_regular`], or that of read(2).
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Does a regular file hold one of these byte strings within its first
/// `limit` bytes? Reads in small pieces. Gives the first found one's number.
///
/// # Errors
/// As [`open_regular`], or that of read(2).
pub fn find_bytes(path: &Path, wanted: &[&[u8]], limit: u64) -> io::Result<Option<usize>> {
    let longest = wanted.iter().map(|w| w.len()).max().unwrap_or(0);
    let mut file = open_regular(path)?.take(limit);
    let mut window = Vec::with_capacity(PIECE + longest);
    loop {
        let before = window.len();
        if file.by_ref().take(PIECE as u64).read_to_end(&mut window)? == 0 {
            return Ok(None);
        }
        let hit = wanted.iter().position(|w| window.windows(w.len().max(1)).any(|at| at == *w));
        if hit.is_some() {
            return Ok(hit);
        }
        let keep = longest.min(window.len());
        window.drain(..window.len() - keep);
        debug_assert!(window.len() <= before.max(longest));
    }
}

/// Bytes read at a time by [`find_bytes`].
const PIECE: usize = 8192;
