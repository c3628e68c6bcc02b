//! Project quotas: quotactl_fd(2), and the project of a file
//! (ioctl_fs(2), `FS_IOC_FSSETXATTR`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use linux_raw_sys::general::{FS_XFLAG_PROJINHERIT, fsxattr};
use linux_raw_sys::ioctl::{FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR};

use super::check;

/// `PRJQUOTA` (linux/quota.h).
const PROJECTS: libc::c_int = 2;

/// Limits are counted in these (quotactl(2), `dqb_bhardlimit`).
const BLOCK: u64 = 1024;

/// What a project has of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The most bytes; 0 for no limit.
    pub limit: u64,
    /// Bytes in use.
    pub used: u64,
}

/// What a project has of the file system that `on`, open for reading, is on.
///
/// # Errors
/// ESRCH where that keeps no such accounts, ENOENT if there is none of the
/// project yet, ENOSYS before Linux 5.14; else as in quotactl(2).
pub fn of_project(on: BorrowedFd<'_>, project: u32) -> io::Result<Quota> {
    let mut block = empty();
    quotactl(on, libc::Q_GETQUOTA, project, &mut block)?;
    let limit = block.dqb_bhardlimit.saturating_mul(BLOCK);
    Ok(Quota { limit, used: block.dqb_curspace })
}

/// Limits a project to so many bytes; 0 for no limit.
///
/// # Errors
/// As [`of_project`].
pub fn limit_project(on: BorrowedFd<'_>, project: u32, bytes: u64) -> io::Result<()> {
    let mut block = empty();
    block.dqb_bhardlimit = bytes.div_ceil(BLOCK);
    block.dqb_bsoftlimit = 0;
    block.dqb_valid = libc::QIF_BLIMITS;
    quotactl(on, libc::Q_SETQUOTA, project, &mut block)
}

/// The project that a file or directory, open for reading, belongs to.
///
/// # Errors
/// Those of the ioctl.
pub fn project(of: BorrowedFd<'_>) -> io::Result<u32> {
    attributes(of).map(|attributes| attributes.fsx_projid)
}

/// Makes a file or directory one of a project's. With `inherits` so is
/// everything that is made in it.
///
/// # Errors
/// EOPNOTSUPP where the file system has no projects; else those of the ioctl.
pub fn set_project(of: BorrowedFd<'_>, project: u32, inherits: bool) -> io::Result<()> {
    let mut wanted = attributes(of)?;
    wanted.fsx_projid = project;
    if inherits {
        wanted.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    }
    let request = libc::Ioctl::from(FS_IOC_FSSETXATTR);
    // SAFETY: the structure is the one that the request reads, and lives
    // through the call.
    let done = unsafe { libc::ioctl(of.as_raw_fd(), request, ptr::from_ref(&wanted)) };
    check(done.into()).map(drop)
}

fn attributes(of: BorrowedFd<'_>) -> io::Result<fsxattr> {
    // SAFETY: all fields are numbers: zero is a value of each.
    let mut found: fsxattr = unsafe { std::mem::zeroed() };
    let request = libc::Ioctl::from(FS_IOC_FSGETXATTR);
    // SAFETY: the structure is the one that the request writes, and lives
    // through the call.
    let done = unsafe { libc::ioctl(of.as_raw_fd(), request, ptr::from_mut(&mut found)) };
    check(done.into()).map(|_| found)
}

fn empty() -> libc::dqblk {
    // SAFETY: all fields are numbers: zero is a value of each.
    unsafe { std::mem::zeroed() }
}

fn quotactl(
    on: BorrowedFd<'_>,
    command: libc::c_int,
    id: u32,
    block: &mut libc::dqblk,
) -> io::Result<()> {
    // `SUBCMDSHIFT` and `SUBCMDMASK` (linux/quota.h).
    let command = (command << 8) | (PROJECTS & 0xff);
    // SAFETY: the structure is the one that both commands read or write, and
    // lives through the call.
    let done = unsafe {
        libc::syscall(libc::SYS_quotactl_fd, on.as_raw_fd(), command, id, ptr::from_mut(block))
    };
    check(done).map(drop)
}
