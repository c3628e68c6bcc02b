//! Subvolumes of btrfs in place of plain directories, where guests' roots lie
//! on one: a copy of one is made at once.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

use crate::sys::block;

/// Makes a directory, as a subvolume where that can be; says if it is one.
///
/// # Errors
/// Those of mkdir(2).
pub fn make(path: &Path) -> io::Result<bool> {
    match create(path, None) {
        Ok(()) => Ok(true),
        Err(cause) if is_no_btrfs(&cause) => std::fs::create_dir(path).map(|()| false),
        Err(cause) => Err(cause),
    }
}

/// Makes a snapshot of a subvolume at a path where nothing is; false where
/// that can't be, or would not be all: of a subvolume inside it a snapshot has
/// an empty directory only. Guests can't make any, but roots come from
/// elsewhere too.
///
/// # Errors
/// Those of the file system.
pub fn snapshot(of: &Path, path: &Path) -> io::Result<bool> {
    let of = open(of, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match block::holds_subvolumes(of.as_fd()) {
        Ok(false) => {}
        Ok(true) => return Ok(false),
        Err(cause) if is_no_btrfs(&cause) => return Ok(false),
        Err(cause) => return Err(cause),
    }
    match create(path, Some(of.as_fd())) {
        Ok(()) => Ok(true),
        Err(cause) if is_no_btrfs(&cause) => Ok(false),
        Err(cause) => Err(cause),
    }
}

fn create(path: &Path, of: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let parent = open(parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    block::make_subvolume(parent.as_fd(), &CString::new(name.as_bytes())?, of)
}

/// Another file system, another btrfs, or no subvolume.
fn is_no_btrfs(cause: &io::Error) -> bool {
    const ANSWERS: [i32; 4] = [libc::ENOTTY, libc::EINVAL, libc::EXDEV, libc::EOPNOTSUPP];
    cause.raw_os_error().is_some_and(|errno| ANSWERS.contains(&errno))
}
