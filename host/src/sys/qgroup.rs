//! Quota groups of btrfs(5) by ioctl(2): the one that each subvolume has.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use linux_raw_sys::btrfs::{
    BTRFS_QGROUP_LIMIT_MAX_RFER, btrfs_ioctl_get_subvol_info_args, btrfs_ioctl_qgroup_limit_args,
};
use linux_raw_sys::ioctl::{BTRFS_IOC_GET_SUBVOL_INFO, BTRFS_IOC_QGROUP_LIMIT};

use super::check;

/// The number of the subvolume that a directory is in, and of its group.
///
/// # Errors
/// ENOTTY where it isn't btrfs, or the kernel is older than 4.18.
pub fn subvolume(of: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: all fields are numbers and arrays of such: zero is a value of each.
    let mut found: btrfs_ioctl_get_subvol_info_args = unsafe { std::mem::zeroed() };
    let request = libc::Ioctl::from(BTRFS_IOC_GET_SUBVOL_INFO);
    // SAFETY: the structure is the one that the request writes, and lives
    // through the call.
    let done = unsafe { libc::ioctl(of.as_raw_fd(), request, ptr::from_mut(&mut found)) };
    check(done.into()).map(|_| found.treeid)
}

/// Limits the bytes that a subvolume refers to, also those that it shares with
/// others; `None` for no limit. `on` is a directory of the same file system.
///
/// # Errors
/// ENOTCONN where the file system keeps no quotas, ENOENT if it doesn't know
/// the group yet; ENOTTY where it isn't btrfs; EDQUOT if the subvolume that
/// `on` is in is over a limit of its own.
pub fn limit(on: BorrowedFd<'_>, subvolume: u64, bytes: Option<u64>) -> io::Result<()> {
    /// Takes a limit away (fs/btrfs/qgroup.c, `btrfs_limit_qgroup`).
    const CLEAR: u64 = u64::MAX;
    // SAFETY: all fields are numbers: zero is a value of each.
    let mut wanted: btrfs_ioctl_qgroup_limit_args = unsafe { std::mem::zeroed() };
    wanted.qgroupid = subvolume;
    wanted.lim.flags = BTRFS_QGROUP_LIMIT_MAX_RFER.into();
    wanted.lim.max_rfer = bytes.unwrap_or(CLEAR);
    let request = libc::Ioctl::from(BTRFS_IOC_QGROUP_LIMIT);
    // SAFETY: the structure is the one that the request reads, and lives
    // through the call.
    let done = unsafe { libc::ioctl(on.as_raw_fd(), request, ptr::from_mut(&mut wanted)) };
    check(done.into()).map(drop)
}
