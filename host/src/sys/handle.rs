//! What a file system calls its files, as long as they are there.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::check;

/// `MAX_HANDLE_SZ` (linux/exportfs.h).
const LONGEST: usize = 128;

/// `struct file_handle` (linux/fs.h) with room for any.
#[repr(C)]
struct Raw {
    length: u32,
    kind: i32,
    bytes: [u8; LONGEST],
}

/// The handle of what has this name in a directory, of a link itself
/// (`open_by_handle_at(2)`): other than numbers of devices, and those of inodes on btrfs,
/// it tells the file from others of its file system at any time.
///
/// # Errors
/// Those of name_to_handle_at(2): EOPNOTSUPP where the file system has none.
pub fn handle(directory: BorrowedFd<'_>, name: &Path) -> io::Result<Vec<u8>> {
    let name = CString::new(name.as_os_str().as_bytes())?;
    let mut raw = Raw { length: LONGEST as u32, kind: 0, bytes: [0; LONGEST] };
    let mut mount: libc::c_int = 0;
    // SAFETY: the name ends with a zero; the structure has as many bytes behind its head
    // as it says, and it and the number live through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            directory.as_raw_fd(),
            name.as_ptr(),
            ptr::from_mut(&mut raw),
            ptr::from_mut(&mut mount),
            0,
        )
    };
    check(done)?;
    let bytes = raw.bytes.iter().take(raw.length as usize).copied();
    Ok(raw.kind.to_ne_bytes().into_iter().chain(bytes).collect())
}
