//! Reads the files of a guest's cgroups and of its network.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::counters::{self, Usage};

/// What a cgroup of the guest's uses. A guest may make cgroups below its own,
/// and write some files there, but not these.
pub fn usage(directory: &Path) -> Usage {
    Usage::read(|file| fs::read_to_string(directory.join(file)).ok())
}

/// What distinguishes a cgroup from all that were or will be while the host
/// is up; `None` when there is no such cgroup.
pub fn inode(directory: &Path) -> Option<String> {
    let inode = fs::metadata(directory).ok()?.ino();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{} {inode}", boot.trim()))
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
