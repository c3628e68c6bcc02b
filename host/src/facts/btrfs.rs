//! What a btrfs says of its quota groups.

use std::fs::{self, File};
use std::os::fd::AsFd;

use uuid::Uuid;

use crate::sys::extents;

/// Does the file system that this is on know that its numbers are wrong?
/// Until they are counted anew limits hold at others than were set. False as
/// well where it keeps none, is another one, or the kernel doesn't tell: the
/// file is there since Linux 6.1 (fs/btrfs/sysfs.c, `qgroup_inconsistent_show`).
pub fn counts_wrongly(directory: &File) -> bool {
    let Ok(id) = extents::btrfs_id(directory.as_fd()) else { return false };
    let path = format!("/sys/fs/btrfs/{}/qgroups/inconsistent", Uuid::from_bytes(id));
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}
