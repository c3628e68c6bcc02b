//! Has the kernel record the guest's processes when they end (acct(2)).
//!
//! Accounting belongs to a PID namespace, whose members alone can switch it
//! on, and then it takes CAP_SYS_PACCT over the host: no process of the guest
//! has that. So a process is forked that is in the guest's PID namespace and
//! in none other of its namespaces, and has the host's mounts and
//! credentials. It has ended before anything of the guest's is executed,
//! which so never meets it; what it leaves is the first record of the boot.
//! The kernel ends the accounting when the namespace ends.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::unistd::acct;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::accounting::Records;
use crate::sys::{self, Cloned};

/// The name in the helper's own record.
const NAME: &std::ffi::CStr = c"vserver-acct";

/// Switches it on for the namespace of this process, a PID 1 that waits.
pub(super) fn begin(file: &Path, pid: i32) -> io::Result<()> {
    let records = Records::at(file);
    records.make()?;
    let before = records.length();
    // Children, not the caller itself, are in the namespace that it joins
    // (pid_namespaces(7)).
    let own = File::open("/proc/self/ns/pid")?;
    let guests = File::open(format!("/proc/{pid}/ns/pid"))?;
    setns(guests, CloneFlags::CLONE_NEWPID)?;
    let helper = match sys::fork() {
        Ok(Cloned::Child) => {
            let _ = rustix::thread::set_name(NAME);
            let errno = acct::enable(file).map_or_else(|error| error as i32, |()| 0);
            sys::exit_now(u8::try_from(errno).unwrap_or(u8::MAX));
        }
        Ok(Cloned::Parent { pidfd, .. }) => Ok(pidfd),
        Err(error) => Err(error),
    };
    setns(own, CloneFlags::CLONE_NEWPID)?;
    let ended = waitid(WaitId::PidFd(helper?.as_fd()), WaitIdOptions::EXITED)?;
    match ended.and_then(|ended| ended.exit_status()) {
        Some(0) => {}
        errno => return Err(io::Error::from_raw_os_error(errno.unwrap_or(libc::ECANCELED))),
    }
    // Its own record is there. None is written while the disk is full.
    if records.length() > before && records.last()?.is_none() {
        return Err(io::Error::from_raw_os_error(libc::EPROTONOSUPPORT));
    }
    Ok(())
}
