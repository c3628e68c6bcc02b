//! Keeps this program's own file out of a guest's hands.
//!
//! A process that has joined a guest is visible there, and its program can
//! be reached as `/proc/PID/exe`: a guest whose root has the host's ids could
//! write to it once it doesn't run any more (CVE-2019-5736). So a session
//! first executes itself again through a detached read-only mount, where
//! nobody can, and without the caller's environment: the process that joins
//! keeps what it was executed with in its memory, and a guest with the host's
//! ids may look there (`/proc/PID/environ`).

use std::env;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstatvfs};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::error::{Error, Result};
use crate::sys::mount::{self, Attributes};
use crate::sys::{self};
use crate::variables;

/// Returns at once if this program runs from a read-only mount and has only
/// its own environment; else executes itself so, with the same arguments.
///
/// # Errors
/// When that can't be done.
pub fn protect() -> Result<()> {
    let fail = |error: io::Error| {
        Error::os("cannot open a session", error).hint("sessions need root; try sudo")
    };
    let bare = env::vars_os().all(|(name, _)| is_kept(&name));
    if bare && runs_read_only().map_err(fail)? {
        return sys::set_not_dumpable().map_err(fail);
    }
    Err(fail(execute_read_only()))
}

/// What vserver itself reads, and the kind of terminal, which sessions hand
/// on.
fn is_kept(name: &OsStr) -> bool {
    name == "TERM" || variables::ALL.iter().any(|kept| name == *kept)
}

fn runs_read_only() -> io::Result<bool> {
    let program =
        rustix::fs::open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(fstatvfs(&program)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn execute_read_only() -> io::Error {
    match prepare() {
        Ok((program, argv, variables)) => {
            let argv: Vec<_> = argv.iter().map(CString::as_c_str).collect();
            let variables: Vec<_> = variables.iter().map(CString::as_c_str).collect();
            sys::exec_by_descriptor(program.as_fd(), &argv, &variables)
        }
        Err(error) => error,
    }
}

type Prepared = (std::os::fd::OwnedFd, Vec<CString>, Vec<CString>);

fn prepare() -> io::Result<Prepared> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let program = open_tree(CWD, "/proc/self/exe", flags)?;
    let wanted = Attributes { set: mount::RDONLY, ..Attributes::default() };
    mount::set_attributes(program.as_fd(), false, &wanted)?;
    let text = |text: &OsStr| CString::new(text.as_bytes());
    let argv: Result<Vec<_>, _> = env::args_os().map(|argument| text(&argument)).collect();
    let variables: Result<Vec<_>, _> = env::vars_os()
        .filter(|(name, _)| is_kept(name))
        .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect();
    Ok((program, argv?, variables?))
}
