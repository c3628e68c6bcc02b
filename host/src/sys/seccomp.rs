//! System call filters: seccomp(2).

use std::io;
use std::ptr;

use super::check;

/// Installs a filter for this thread and all that it forks, for good.
///
/// # Errors
/// EACCES without CAP_SYS_ADMIN in the caller's user namespace (and without
/// no_new_privs); EINVAL for a program that the kernel doesn't take.
pub fn install(program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len());
    let length = length.map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let raw = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let set_filter = libc::SECCOMP_SET_MODE_FILTER as libc::c_long;
    // SAFETY: `raw` and the program that it points to live through the call,
    // its length is the program's, and the kernel only reads them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, set_filter, 0, ptr::from_ref(&raw)) }).map(drop)
}
