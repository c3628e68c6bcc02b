//! A disk of a file system that the machine's own may not be of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;
use crate::host::Host;
use crate::wait::DEADLINE;

/// A file system in a file, in the place of all guests' roots of a host or elsewhere,
/// until it is dropped.
pub struct Disk {
    at: PathBuf,
}

impl Disk {
    /// One of btrfs(5).
    pub fn btrfs(host: &Host, megabytes: u64) -> Self {
        Self::new(host, megabytes, &["mkfs.btrfs", "-q"], "loop,user_subvol_rm_allowed")
    }

    /// One of xfs(5), whose files can share blocks.
    pub fn xfs(host: &Host, megabytes: u64) -> Self {
        Self::new(host, megabytes, &["mkfs.xfs", "-q", "-m", "reflink=1"], "loop")
    }

    /// Makes and mounts it in the place of the roots.
    ///
    /// # Panics
    /// As [`Disk::on`].
    pub fn new(host: &Host, megabytes: u64, make: &[&str], options: &str) -> Self {
        Self::on(&host.paths().roots_dir(), host, megabytes, make, options)
    }

    /// Makes and mounts it on a directory.
    ///
    /// # Panics
    /// Without root, or without the tools of tests/setup.
    pub fn on(at: &Path, host: &Host, megabytes: u64, make: &[&str], options: &str) -> Self {
        let image = host.prefix().join("disk");
        let file = fs::File::create(&image).expect("it can be made");
        file.set_len(megabytes << 20).expect("it is ours");
        fs::create_dir_all(at).expect("it can be made");
        let (program, words) = make.split_first().expect("a program");
        command::run(Command::new(program).args(words).arg(&image), DEADLINE).ok();
        let mut mount = Command::new("mount");
        command::run(mount.args(["-o", options]).arg(&image).arg(at), DEADLINE).ok();
        Self { at: at.to_owned() }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}
