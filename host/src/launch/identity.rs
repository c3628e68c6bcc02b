//! User 0 of a guest, for its PID 1 and for sessions.

use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::sys;

/// Makes the caller uid and gid 0 of its user namespace, without a group or
/// a key of whoever typed the command.
///
/// # Errors
/// EPERM without CAP_SETUID and CAP_SETGID there.
pub fn become_root() -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    sys::leave_session_keyring()
}
