//! One file: where it lies on the disk, what is in it, and giving it the blocks
//! of another.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, Stat};
use sha2::{Digest as _, Sha256};

use super::alike::Digest;
use crate::fsroot::RootDir;
use crate::sys::extents::{self, Deduped};
use crate::tree::{self, Ground};

/// What a guest that runs has below its root: what is mounted there isn't its.
pub(super) const GROUND: Ground = Ground { mounts: false, moving: true };

/// Bytes between two questions whether the work shall end. btrfs takes no more
/// at a time (`BTRFS_MAX_DEDUPE_LEN`).
const PIECE: u64 = 16 * 1024 * 1024;

/// By what a file is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) size: u64,
    device: u64,
    inode: u64,
}

impl Identity {
    /// That of a file whose bytes are worth to be shared; `None` for one of
    /// another kind, one with holes, and one that is shorter than `least`.
    pub(super) fn of(stat: &Stat, least: u64) -> Option<Self> {
        let size = u64::try_from(stat.st_size).ok()?;
        let is_full = u64::try_from(stat.st_blocks).is_ok_and(|blocks| blocks * 512 >= size);
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let is_one = is_file && is_full && size >= least.max(1);
        is_one.then_some(Self { size, device: stat.st_dev, inode: stat.st_ino })
    }
}

/// Opens a file for reading, if it is still the one that it was.
///
/// # Errors
/// ESTALE if it isn't; those of openat2(2).
pub(super) fn open(root: &RootDir, path: &Path, identity: Identity) -> io::Result<File> {
    let pinned = tree::pin(root.as_fd(), path, GROUND)?;
    if Identity::of(&pinned.stat, 1) != Some(identity) {
        return Err(io::Error::from_raw_os_error(libc::ESTALE));
    }
    Ok(File::from(pinned.open()?))
}

/// Where a file lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// The same for files in the same blocks; `None` where that isn't known.
    pub(super) blocks: Option<Digest>,
    /// Bytes in blocks that nothing else has.
    pub(super) own: u64,
}

/// Finds out where a file lies.
///
/// # Errors
/// Those of reading, or when `check` says no.
pub(super) fn layout(
    file: BorrowedFd<'_>,
    check: &dyn Fn() -> io::Result<()>,
) -> io::Result<Layout> {
    let (mut sum, mut own, mut start) = (Sha256::new(), 0u64, 0);
    let mut is_known = true;
    loop {
        check()?;
        let found = extents::extents(file, start)?;
        for extent in &found {
            is_known &= extent.physical.is_some();
            let numbers = [extent.logical, extent.physical.unwrap_or_default(), extent.length];
            numbers.iter().for_each(|number| sum.update(number.to_le_bytes()));
            if !extent.is_shared {
                own = own.saturating_add(extent.length);
            }
        }
        let Some(last) = found.last() else {
            is_known &= start > 0;
            break;
        };
        let end = last.logical.saturating_add(last.length);
        if last.is_last || end <= start {
            break;
        }
        start = end;
    }
    Ok(Layout { blocks: is_known.then(|| sum.finalize().into()), own })
}

/// What is in a file of this length, which is written to `into` as well.
///
/// # Errors
/// ESTALE if it has become shorter; those of reading and writing, or when
/// `check` says no.
pub(super) fn content(
    file: &File,
    size: u64,
    into: &mut dyn Write,
    check: &dyn Fn() -> io::Result<()>,
) -> io::Result<Digest> {
    let (mut sum, mut buffer) = (Sha256::new(), vec![0u8; 256 * 1024]);
    let (mut rest, mut file) = (size, file.take(size));
    while rest > 0 {
        check()?;
        let read = match file.read(&mut buffer) {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if read == 0 {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        let piece = buffer.get(..read).unwrap_or_default();
        sum.update(piece);
        into.write_all(piece)?;
        rest = rest.saturating_sub(read as u64);
    }
    Ok(sum.finalize().into())
}

/// Gives a file the blocks of another of the same length; `done` has the bytes
/// that it got, also if not all could be.
///
/// # Errors
/// ESTALE if they differ meanwhile; those of [`extents::dedupe`], or when
/// `check` says no.
pub(super) fn share(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    size: u64,
    check: &dyn Fn() -> io::Result<()>,
    done: &mut u64,
) -> io::Result<()> {
    while *done < size {
        check()?;
        match extents::dedupe(from, to, *done, (size - *done).min(PIECE)) {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Ok(Deduped::Bytes(bytes)) if bytes > 0 => *done += bytes,
            Ok(_) => return Err(io::Error::from_raw_os_error(libc::ESTALE)),
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}
