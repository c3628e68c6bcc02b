//! A small file system that can be filled.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;
use crate::wait::DEADLINE;

/// A file system in memory, mounted on a directory until it is dropped.
pub struct Small(PathBuf);

impl Small {
    /// Mounts one of this size (tmpfs(5)) on a directory, which is made if need
    /// be.
    ///
    /// # Panics
    /// Without root.
    pub fn on(directory: &Path, size: &str) -> Self {
        fs::create_dir_all(directory).expect("a directory of the installation can be made");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "tmpfs"]);
        command::run(mount.arg(directory), DEADLINE).ok();
        Self(directory.to_owned())
    }

    /// Leaves no byte free.
    ///
    /// # Panics
    /// When something else than its size stops that.
    pub fn fill(&self) {
        let mut file = File::create(self.0.join("fill")).expect("a file can be made");
        let mut block = vec![0; 1 << 20];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull && block.len() > 1 => {
                    block.truncate(block.len() / 2);
                }
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("it can't be filled: {error}"),
            }
        }
    }

    /// Has room again.
    ///
    /// # Panics
    /// When it isn't full.
    pub fn empty(&self) {
        fs::remove_file(self.0.join("fill")).expect("it is full");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
