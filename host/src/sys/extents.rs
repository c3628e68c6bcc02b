//! Which blocks files lie in (ioctl(2), `FS_IOC_FIEMAP`), and letting equal ones
//! have the same (`ioctl_fideduperange(2)`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use linux_raw_sys::btrfs::btrfs_ioctl_fs_info_args;
use linux_raw_sys::general::file_dedupe_range_info;
use linux_raw_sys::ioctl::{
    BTRFS_IOC_FS_INFO, FIDEDUPERANGE, FIEMAP_EXTENT_DATA_INLINE, FIEMAP_EXTENT_DELALLOC,
    FIEMAP_EXTENT_LAST, FIEMAP_EXTENT_SHARED, FIEMAP_EXTENT_UNKNOWN, FS_IOC_FIEMAP,
};

use super::check;

/// How many extents are asked for at a time.
const AT_ONCE: usize = 64;

/// In no block of its own, or not yet.
const PLACELESS: u32 = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_DATA_INLINE;

/// `struct fiemap_extent` (linux/fiemap.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap` with room for some extents.
#[repr(C)]
#[derive(Debug)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
    extents: [RawExtent; AT_ONCE],
}

/// A piece of a file that lies in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the file.
    pub logical: u64,
    /// Where on the disk; `None` while it isn't there yet, or the kernel
    /// doesn't say.
    pub physical: Option<u64>,
    /// Bytes.
    pub length: u64,
    /// Has anything else these blocks as well?
    pub is_shared: bool,
    /// Nothing comes after it.
    pub is_last: bool,
}

/// Some of a file's extents, from this byte on; none where no more are.
///
/// # Errors
/// EOPNOTSUPP where the file system doesn't tell.
pub fn extents(file: BorrowedFd<'_>, start: u64) -> io::Result<Vec<Extent>> {
    let mut request = Request {
        start,
        length: u64::MAX - start,
        flags: 0,
        mapped: 0,
        room: AT_ONCE as u32,
        reserved: 0,
        extents: [RawExtent::default(); AT_ONCE],
    };
    let pointer = ptr::from_mut(&mut request);
    // SAFETY: the structure is the one that the request reads and writes; it has
    // as many extents as it says, and lives through the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP.into(), pointer) };
    check(done.into())?;
    let found = request.extents.iter().take(request.mapped as usize);
    Ok(found
        .map(|raw| {
            let is_known = raw.flags & PLACELESS == 0;
            Extent {
                logical: raw.logical,
                physical: is_known.then_some(raw.physical),
                length: raw.length,
                is_shared: raw.flags & FIEMAP_EXTENT_SHARED != 0,
                is_last: raw.flags & FIEMAP_EXTENT_LAST != 0,
            }
        })
        .collect())
}

/// What came of letting two files share a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deduped {
    /// So many bytes are in the same blocks now.
    Bytes(u64),
    /// They aren't equal.
    Differs,
}

/// `struct file_dedupe_range` with one target.
#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
    count: u16,
    reserved: [u16; 3],
    target: file_dedupe_range_info,
}

/// `FILE_DEDUPE_RANGE_DIFFERS` (linux/fs.h).
const DIFFERS: i32 = 1;

/// Lets `to` have the blocks of `from`, in the range of `length` bytes at
/// `offset` of both, if the kernel finds the same bytes in them, while nobody
/// can write to either. Whoever writes to one later gets blocks of its own.
/// Neither needs to be open for writing if this process may administer the
/// system.
///
/// # Errors
/// EOPNOTSUPP or ENOTTY where the file system can't; EXDEV for two of them;
/// EINVAL if the range isn't one of whole blocks that may be shared, or a file
/// has become shorter; EPERM where `to` is immutable; ETXTBSY for swap files.
pub fn dedupe(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    offset: u64,
    length: u64,
) -> io::Result<Deduped> {
    let mut range = Range {
        offset,
        length,
        count: 1,
        reserved: [0; 3],
        target: file_dedupe_range_info {
            dest_fd: to.as_raw_fd().into(),
            dest_offset: offset,
            bytes_deduped: 0,
            status: 0,
            reserved: 0,
        },
    };
    let pointer = ptr::from_mut(&mut range);
    // SAFETY: the structure is the one that the request reads and writes; it has
    // one target, as it says, and lives through the call.
    let done = unsafe { libc::ioctl(from.as_raw_fd(), FIDEDUPERANGE.into(), pointer) };
    check(done.into())?;
    match range.target.status {
        0 => Ok(Deduped::Bytes(range.target.bytes_deduped)),
        DIFFERS => Ok(Deduped::Differs),
        failed => Err(io::Error::from_raw_os_error(failed.saturating_neg())),
    }
}

/// The id of a btrfs, which all of its subvolumes have.
///
/// # Errors
/// ENOTTY where it isn't one.
pub fn btrfs_id(on: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    // SAFETY: all fields are numbers and arrays of such: zero is a value of each.
    let mut info: btrfs_ioctl_fs_info_args = unsafe { std::mem::zeroed() };
    let request = libc::Ioctl::from(BTRFS_IOC_FS_INFO);
    // SAFETY: the structure is the one that the request writes, and lives
    // through the call.
    let done = unsafe { libc::ioctl(on.as_raw_fd(), request, ptr::from_mut(&mut info)) };
    check(done.into()).map(|_| info.fsid)
}
