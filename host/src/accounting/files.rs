//! Reads the files of a guest's cgroups and of its network.

use std::cell::Cell;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::counters::{self, Usage};

/// What a cgroup of the guest's uses. A guest may make cgroups below its own,
/// and write some files there, but not these.
pub fn usage(directory: &Path) -> Usage {
    Usage::read(|file| fs::read_to_string(directory.join(file)).ok())
}

/// The files whose figures are added up over time ([`super::Ledger`]).
const COUNTED: [&str; 4] = ["cpu.stat", "io.stat", "memory.current", "memory.events"];

/// The same for an account: a file that is there and can't be read is an error.
/// What it counts would be 0 now, and be there in full, and once more, the next
/// time.
///
/// # Errors
/// Those of open(2) and read(2), but for a file that isn't there or goes.
pub fn counted(directory: &Path) -> io::Result<Usage> {
    let failed = Cell::new(None);
    let usage = Usage::read(|file| match fs::read_to_string(directory.join(file)) {
        Ok(text) => Some(text),
        Err(error) => {
            let is_gone =
                error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV);
            if !is_gone && COUNTED.contains(&file) {
                failed.set(Some(error));
            }
            None
        }
    });
    failed.take().map_or(Ok(usage), Err)
}

/// What distinguishes a cgroup from all that were or will be while the host
/// is up; `None` when there is no such cgroup.
pub fn inode(directory: &Path) -> Option<String> {
    let inode = fs::metadata(directory).ok()?.ino();
    let boot = crate::sys::host_boot().ok()?;
    Some(format!("{boot} {inode}"))
}

/// Bytes received and sent in the network namespace of a process, unless
/// that is this process's own.
pub fn network(pid: i32) -> Option<(u64, u64)> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let (own, theirs) = (namespace("self")?, namespace(&pid.to_string())?);
    if own == theirs {
        return None;
    }
    let table = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    Some(counters::network(&table))
}
