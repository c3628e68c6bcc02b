//! Is a name of a guest's the same as one of a base?

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, AtFlags, FileType, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::build::kind_of;
use crate::error::Result;
use crate::tree::{Attributes, Check, Pinned, is_whiteout};

/// What the kernel keeps in attributes of these names says how layers lie over
/// each other.
const NOTES: [&[u8]; 2] = [b"user.overlay.", b"trusted.overlay."];

/// Why a name can't be in a layer: there it would mean something else.
pub(super) fn misread(stat: &Stat, attributes: &Attributes) -> Option<&'static str> {
    if is_whiteout(stat) {
        return Some("a device 0:0, which in a layer says that a file is removed");
    }
    let is_note = |name: &[u8]| NOTES.iter().any(|notes| name.starts_with(notes));
    let has_note = attributes.iter().any(|(name, _)| is_note(name));
    has_note.then_some("a file with attributes 'overlay', which in a layer belong to the kernel")
}

/// Is it one that nobody may remove or give further names (chattr(1), `+i` and
/// `+a`)? A layer would lose that, and the old files could not go.
///
/// # Errors
/// Those of statx(2).
pub(super) fn is_fixed(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    let found = fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(found.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND))
}

/// Can a file or link have become the base's, if its bytes are the same? One
/// with several names can't: the kernel parts those of a file below as soon as
/// it is written to.
pub(super) fn may_be_same(mine: &Stat, base: &Stat) -> bool {
    let is_kept = |stat: &Stat| {
        let kind = matches!(kind_of(stat), FileType::RegularFile | FileType::Symlink);
        kind && stat.st_nlink == 1
    };
    let size = |stat: &Stat| stat.st_size;
    is_kept(mine) && is_kept(base) && size(mine) == size(base) && is_alike(mine, base)
}

/// Has it the same kind, owner, permissions and time?
pub(super) fn is_alike(mine: &Stat, base: &Stat) -> bool {
    let of = |stat: &Stat| {
        let time = (stat.st_mtime, stat.st_mtime_nsec);
        (stat.st_mode, stat.st_uid, stat.st_gid, time)
    };
    of(mine) == of(base)
}

/// Has it the same bytes, or does it point to the same?
///
/// # Errors
/// When one can't be read, or `check` says no.
pub(super) fn is_same(mine: &Pinned, base: &Pinned, check: Check<'_>) -> Result<io::Result<bool>> {
    if kind_of(&mine.stat) == FileType::Symlink {
        let target = |link: &Pinned| fs::readlinkat(link.file.as_fd(), "", Vec::new());
        let same = target(mine).and_then(|mine| Ok(mine == target(base)?));
        return Ok(same.map_err(Into::into));
    }
    let (mine, base) = match (mine.open(), base.open()) {
        (Ok(mine), Ok(base)) => (File::from(mine), File::from(base)),
        (Err(cause), _) | (_, Err(cause)) => return Ok(Err(cause.into())),
    };
    let mut buffers = [vec![0u8; PIECE], vec![0u8; PIECE]];
    let [ours, theirs] = &mut buffers;
    loop {
        check()?;
        let pieces = (piece(&mine, ours), piece(&base, theirs));
        match pieces {
            (Ok([]), Ok([])) => return Ok(Ok(true)),
            (Ok(ours), Ok(theirs)) if ours == theirs => {}
            (Ok(_), Ok(_)) => return Ok(Ok(false)),
            (Err(cause), _) | (_, Err(cause)) => return Ok(Err(cause)),
        }
    }
}

/// Bytes that are compared at a time.
const PIECE: usize = 256 * 1024;

/// Fills a buffer as far as the file goes.
fn piece<'b>(mut file: &File, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}
