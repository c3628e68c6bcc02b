//! Quotas of projects and users: quotactl_fd(2), and the project of a file
//! (ioctl_fs(2), `FS_IOC_FSSETXATTR`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use linux_raw_sys::general::{FS_XFLAG_PROJINHERIT, fsxattr};
use linux_raw_sys::ioctl::{FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR};

use super::check;

/// Whose accounts (linux/quota.h).
#[derive(Clone, Copy)]
enum Whose {
    /// `USRQUOTA`.
    Users = 0,
    /// `PRJQUOTA`.
    Projects = 2,
}

/// Limits are counted in these (quotactl(2), `dqb_bhardlimit`).
const BLOCK: u64 = 1024;

/// What a project has of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The most bytes; 0 for no limit.
    pub limit: u64,
    /// Bytes in use.
    pub used: u64,
    /// Where they are counted: the most inodes, 0 for no limit, and those in use.
    pub inodes: Option<(u64, u64)>,
}

/// What a project has of the file system that `on`, open for reading, is on.
///
/// # Errors
/// ESRCH where that keeps no such accounts, ENOENT if there is none of the
/// project yet, ENOSYS before Linux 5.14; else as in quotactl(2).
pub fn of_project(on: BorrowedFd<'_>, project: u32) -> io::Result<Quota> {
    let mut block = empty();
    let pointer = ptr::from_mut(&mut block).cast();
    quotactl(on, libc::Q_GETQUOTA, Whose::Projects, project, pointer)?;
    let limit = block.dqb_bhardlimit.saturating_mul(BLOCK);
    let inodes = Some((block.dqb_ihardlimit, block.dqb_curinodes));
    Ok(Quota { limit, used: block.dqb_curspace, inodes })
}

/// Does the file system keep projects to their limits? Without the mount option
/// ext4 only counts.
///
/// # Errors
/// As [`of_project`].
pub fn is_enforced(on: BorrowedFd<'_>) -> io::Result<bool> {
    /// `FS_QUOTA_PDQ_ENFD` (linux/dqblk_xfs.h).
    const LIMITS_PROJECTS: u16 = 1 << 5;
    state(on).map(|flags| flags & LIMITS_PROJECTS != 0)
}

/// Does it keep users to theirs?
///
/// # Errors
/// As [`of_project`].
pub fn are_users_held(on: BorrowedFd<'_>) -> io::Result<bool> {
    /// `FS_QUOTA_UDQ_ACCT` and `FS_QUOTA_UDQ_ENFD` (linux/dqblk_xfs.h).
    const COUNTS_USERS: u16 = 1 << 0;
    const LIMITS_USERS: u16 = 1 << 1;
    match state(on)? {
        flags if flags & COUNTS_USERS == 0 => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        flags => Ok(flags & LIMITS_USERS != 0),
    }
}

/// What it counts and enforces.
fn state(on: BorrowedFd<'_>) -> io::Result<u16> {
    /// `Q_XGETQSTATV` and `FS_QSTATV_VERSION1` (linux/dqblk_xfs.h); it is for
    /// ext4, too.
    const GET_STATE: libc::c_int = 0x5808;
    const VERSION: u8 = 1;
    // The version is the first byte of `struct fs_quota_statv`, the flags are
    // its third and fourth; it has 160 in all.
    let mut state = [0u64; 32];
    state[0] = u64::from_ne_bytes([VERSION, 0, 0, 0, 0, 0, 0, 0]);
    quotactl(on, GET_STATE, Whose::Projects, 0, state.as_mut_ptr().cast())?;
    let [_, _, low, high, ..] = state[0].to_ne_bytes();
    Ok(u16::from_ne_bytes([low, high]))
}

/// Limits a project to so many bytes and inodes; 0 for no limit.
///
/// # Errors
/// As [`of_project`].
pub fn limit_project(on: BorrowedFd<'_>, project: u32, bytes: u64, inodes: u64) -> io::Result<()> {
    let mut block = empty();
    block.dqb_bhardlimit = bytes.div_ceil(BLOCK);
    block.dqb_ihardlimit = inodes;
    block.dqb_valid = libc::QIF_BLIMITS | libc::QIF_ILIMITS;
    let pointer = ptr::from_mut(&mut block).cast();
    quotactl(on, libc::Q_SETQUOTA, Whose::Projects, project, pointer)
}

/// What a user has of a file system and may have of it; 0 for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserQuota {
    /// Bytes in use.
    pub used: u64,
    /// More for some days at most.
    pub soft: u64,
    /// Never more.
    pub hard: u64,
    /// Files, directories, links.
    pub files: u64,
    /// More for some days at most.
    pub soft_files: u64,
    /// Never more.
    pub hard_files: u64,
}

/// `struct if_nextdqblk` (linux/quota.h): `struct if_dqblk` and a number.
#[repr(C)]
#[derive(Default)]
struct Next {
    hard: u64,
    soft: u64,
    used: u64,
    hard_files: u64,
    soft_files: u64,
    files: u64,
    times: [u64; 2],
    valid: u32,
    id: u32,
}

/// The account of a user.
///
/// # Errors
/// As [`of_project`].
pub fn of_user(on: BorrowedFd<'_>, user: u32) -> io::Result<UserQuota> {
    let mut block = empty();
    let pointer = ptr::from_mut(&mut block).cast();
    quotactl(on, libc::Q_GETQUOTA, Whose::Users, user, pointer)?;
    Ok(UserQuota {
        used: block.dqb_curspace,
        soft: block.dqb_bsoftlimit.saturating_mul(BLOCK),
        hard: block.dqb_bhardlimit.saturating_mul(BLOCK),
        files: block.dqb_curinodes,
        soft_files: block.dqb_isoftlimit,
        hard_files: block.dqb_ihardlimit,
    })
}

/// The first account of a user with at least this number; `None` if there is
/// none.
///
/// # Errors
/// As [`of_project`].
pub fn next_user(on: BorrowedFd<'_>, from: u32) -> io::Result<Option<(u32, UserQuota)>> {
    /// `Q_GETNEXTQUOTA` (linux/quota.h).
    const GET_NEXT: libc::c_int = 0x80_0009;
    let mut next = Next::default();
    match quotactl(on, GET_NEXT, Whose::Users, from, ptr::from_mut(&mut next).cast()) {
        Err(cause) if cause.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        other => other?,
    }
    let quota = UserQuota {
        used: next.used,
        soft: next.soft.saturating_mul(BLOCK),
        hard: next.hard.saturating_mul(BLOCK),
        files: next.files,
        soft_files: next.soft_files,
        hard_files: next.hard_files,
    };
    Ok(Some((next.id, quota)))
}

/// Gives a user these limits; what it has isn't changed.
///
/// # Errors
/// As [`of_project`].
pub fn limit_user(on: BorrowedFd<'_>, user: u32, wanted: &UserQuota) -> io::Result<()> {
    let mut block = empty();
    block.dqb_bhardlimit = wanted.hard.div_ceil(BLOCK);
    block.dqb_bsoftlimit = wanted.soft.div_ceil(BLOCK);
    block.dqb_ihardlimit = wanted.hard_files;
    block.dqb_isoftlimit = wanted.soft_files;
    block.dqb_valid = libc::QIF_BLIMITS | libc::QIF_ILIMITS;
    quotactl(on, libc::Q_SETQUOTA, Whose::Users, user, ptr::from_mut(&mut block).cast())
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

/// `data` is memory of this process's, as long as the command's structure.
fn quotactl(
    on: BorrowedFd<'_>,
    command: libc::c_int,
    whose: Whose,
    id: u32,
    data: *mut libc::c_void,
) -> io::Result<()> {
    // `SUBCMDSHIFT` and `SUBCMDMASK` (linux/quota.h).
    let command = (command << 8) | whose as libc::c_int;
    // SAFETY: each caller passes the structure that its command reads or
    // writes, or more memory than that, and it lives through the call.
    let done = unsafe { libc::syscall(libc::SYS_quotactl_fd, on.as_raw_fd(), command, id, data) };
    check(done).map(drop)
}
