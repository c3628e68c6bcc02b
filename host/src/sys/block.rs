//! Loop devices (loop(4)), and what ext4, xfs and btrfs do by ioctl(2).
//!
//! Numbers and structures are the kernel's own, as linux-raw-sys has them.

use std::ffi::{CStr, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use linux_raw_sys::btrfs::{
    BTRFS_SUBVOL_NAME_MAX, BTRFS_SUBVOL_RDONLY, btrfs_ioctl_get_subvol_rootref_args,
    btrfs_ioctl_vol_args_v2,
};
use linux_raw_sys::ioctl::{
    BTRFS_IOC_GET_SUBVOL_ROOTREF, BTRFS_IOC_SNAP_CREATE_V2, BTRFS_IOC_SUBVOL_CREATE_V2,
    BTRFS_IOC_SUBVOL_GETFLAGS, BTRFS_IOC_SUBVOL_SETFLAGS, FIFREEZE, FITHAW,
};
use linux_raw_sys::loop_device::{
    LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO, LOOP_CONFIGURE, LOOP_CTL_GET_FREE, LOOP_GET_STATUS64,
    loop_config, loop_info64,
};

use super::check;

/// `EXT4_IOC_RESIZE_FS`: `_IOW('f', 16, __u64)` (fs/ext4/ext4.h).
const EXT4_IOC_RESIZE_FS: u32 = 0x4008_6610;

/// `XFS_IOC_FSGROWFSDATA`: `_IOW('X', 110, struct xfs_growfs_data)`
/// (fs/xfs/libxfs/xfs_fs.h).
const XFS_IOC_FSGROWFSDATA: u32 = 0x4010_586e;

/// `struct xfs_growfs_data`.
#[repr(C)]
struct Growth {
    blocks: u64,
    inode_percent: u32,
    padding: u32,
}

/// The number of a loop device that nobody uses; `control` is
/// `/dev/loop-control`.
///
/// # Errors
/// Those of `LOOP_CTL_GET_FREE`.
pub fn free_loop_device(control: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the request takes no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), request(LOOP_CTL_GET_FREE), 0) };
    check(number.into()).map(|number| u32::try_from(number).unwrap_or_default())
}

/// Makes a loop device show a file, in blocks of this size, or of what suits the
/// file (loop(4), `LOOP_CONFIGURE`). When its last user is gone, so is that.
///
/// # Errors
/// EBUSY if somebody has taken the device meanwhile; else as in loop(4).
pub fn attach_loop_device(
    device: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    block: Option<u32>,
) -> io::Result<()> {
    // SAFETY: all fields are numbers and arrays of such: zero is a value of each.
    let mut config: loop_config = unsafe { std::mem::zeroed() };
    config.fd = u32::try_from(file.as_raw_fd()).unwrap_or(u32::MAX);
    config.block_size = block.unwrap_or(0);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR as u32 | LO_FLAGS_DIRECT_IO as u32;
    // SAFETY: the structure is the one that the request reads, and lives
    // through the call.
    let done =
        unsafe { libc::ioctl(device.as_raw_fd(), request(LOOP_CONFIGURE), ptr::from_ref(&config)) };
    check(done.into()).map(drop)
}

/// Device and inode of the file that a loop device shows.
///
/// # Errors
/// ENXIO if it shows none.
pub fn file_of_loop_device(device: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    // SAFETY: as above.
    let mut info: loop_info64 = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the one that the request writes, and lives
    // through the call.
    let done = unsafe {
        libc::ioctl(device.as_raw_fd(), request(LOOP_GET_STATUS64), ptr::from_mut(&mut info))
    };
    check(done.into()).map(|_| (info.lo_device, info.lo_inode))
}

/// Lets a mounted ext4 have this many blocks.
///
/// # Errors
/// Those of the ioctl: EINVAL where it isn't ext4, ENOSPC if its device has
/// fewer.
pub fn grow_ext4(mount: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    // SAFETY: the number is what the request reads, and lives through the call.
    let done = unsafe {
        libc::ioctl(mount.as_raw_fd(), request(EXT4_IOC_RESIZE_FS), ptr::from_ref(&blocks))
    };
    check(done.into()).map(drop)
}

/// Lets a mounted xfs have this many blocks, of which inodes may be this share.
///
/// # Errors
/// Those of the ioctl: ENOTTY where it isn't xfs, EINVAL if its device has
/// fewer.
pub fn grow_xfs(mount: BorrowedFd<'_>, blocks: u64, inode_percent: u32) -> io::Result<()> {
    let wanted = Growth { blocks, inode_percent, padding: 0 };
    // SAFETY: the structure is the one that the request reads, and lives
    // through the call.
    let done = unsafe {
        libc::ioctl(mount.as_raw_fd(), request(XFS_IOC_FSGROWFSDATA), ptr::from_ref(&wanted))
    };
    check(done.into()).map(drop)
}

/// Has a mounted file system write all that it has, and keeps whoever writes to it
/// waiting until [`thaw`].
///
/// # Errors
/// EBUSY if it is so already, EOPNOTSUPP if it can't.
pub fn freeze(mount: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request reads nothing.
    let done = unsafe { libc::ioctl(mount.as_raw_fd(), request(FIFREEZE), 0) };
    check(done.into()).map(drop)
}

/// Lets a file system be written to again.
///
/// # Errors
/// EINVAL if that is so already.
pub fn thaw(mount: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request reads nothing.
    let done = unsafe { libc::ioctl(mount.as_raw_fd(), request(FITHAW), 0) };
    check(done.into()).map(drop)
}

/// Makes a subvolume in a directory of btrfs: an empty one, or a snapshot of
/// the subvolume behind `of`.
///
/// # Errors
/// ENOTTY where it isn't btrfs, EINVAL if `of` is no subvolume, EXDEV if it is
/// on another file system; else as in btrfs(5).
pub fn make_subvolume(
    parent: BorrowedFd<'_>,
    name: &CStr,
    of: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = name.to_bytes_with_nul();
    if bytes.len() > BTRFS_SUBVOL_NAME_MAX as usize {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    // SAFETY: all fields are numbers, arrays and unions of such: zero is a
    // value of each.
    let mut wanted: btrfs_ioctl_vol_args_v2 = unsafe { std::mem::zeroed() };
    wanted.fd = of.map_or(0, |of| of.as_raw_fd().into());
    // SAFETY: any bytes are a value of this member, an array of numbers.
    let field = unsafe { &mut wanted.__bindgen_anon_2.name };
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let what = if of.is_some() { BTRFS_IOC_SNAP_CREATE_V2 } else { BTRFS_IOC_SUBVOL_CREATE_V2 };
    let wanted = ptr::from_ref(&wanted).cast::<c_void>();
    // SAFETY: the structure is the one that both requests read, and lives
    // through the call.
    let done = unsafe { libc::ioctl(parent.as_raw_fd(), request(what), wanted) };
    check(done.into()).map(drop)
}

/// Are there other subvolumes in the one that a directory is of?
///
/// # Errors
/// ENOTTY where it isn't btrfs, or the kernel is older than 4.18.
pub fn holds_subvolumes(directory: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: all fields are numbers and arrays of such: zero is a value of each.
    let mut found: btrfs_ioctl_get_subvol_rootref_args = unsafe { std::mem::zeroed() };
    let argument = ptr::from_mut(&mut found);
    // SAFETY: the structure is the one that the request reads and writes, and
    // lives through the call.
    let done = unsafe {
        libc::ioctl(directory.as_raw_fd(), request(BTRFS_IOC_GET_SUBVOL_ROOTREF), argument)
    };
    match check(done.into()) {
        Ok(_) => Ok(found.num_items > 0),
        // More than one answer holds.
        Err(cause) if cause.raw_os_error() == Some(libc::EOVERFLOW) => Ok(true),
        Err(cause) => Err(cause),
    }
}

/// Lets a read-only subvolume be written to, given its root directory.
///
/// # Errors
/// ENOTTY where it isn't btrfs, EINVAL if it is another directory.
pub fn unprotect_subvolume(root: BorrowedFd<'_>) -> io::Result<()> {
    let mut flags = 0u64;
    // SAFETY: the number is what the request writes, and lives through the call.
    let done = unsafe {
        libc::ioctl(root.as_raw_fd(), request(BTRFS_IOC_SUBVOL_GETFLAGS), ptr::from_mut(&mut flags))
    };
    check(done.into())?;
    flags &= !u64::from(BTRFS_SUBVOL_RDONLY);
    // SAFETY: the number is what the request reads, and lives through the call.
    let done = unsafe {
        libc::ioctl(root.as_raw_fd(), request(BTRFS_IOC_SUBVOL_SETFLAGS), ptr::from_ref(&flags))
    };
    check(done.into()).map(drop)
}

/// ioctl(2) takes another type with each C library.
fn request(number: u32) -> libc::Ioctl {
    libc::Ioctl::from(number)
}
