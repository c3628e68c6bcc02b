//! What every contender can do, seen by the measurements.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{DEADLINE, command};

/// A way to run a guest.
pub trait Contender {
    /// Its name in the table.
    fn name(&self) -> &str;

    /// Makes a guest of this name from the tree. Files are hard links: what
    /// is measured is not the disk.
    fn prepare(&mut self, guest: &str, tree: &Path);

    /// The guest's root directory.
    fn root(&self, guest: &str) -> PathBuf;

    /// Starts it, and returns as soon as its own command does.
    fn start(&mut self, guest: &str);

    /// Shuts it down as its own init would, and returns when it is down.
    fn stop(&mut self, guest: &str);

    /// Pids of the processes that exist because of the guest, but aren't its
    /// services: its PID 1, and what watches it from outside.
    fn helpers(&self, guest: &str) -> Vec<i32>;
}

/// A copy of a tree; etc and var are real copies, since they are written to.
pub fn copy_tree(tree: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    let mut copy = Command::new("cp");
    command::run(copy.args(["-al"]).arg(format!("{}/.", tree.display())).arg(to), DEADLINE).ok();
    for written in ["etc", "var"] {
        fs::remove_dir_all(to.join(written)).expect("a directory of the copy can be removed");
        let mut copy = Command::new("cp");
        command::run(copy.arg("-a").arg(tree.join(written)).arg(to), DEADLINE).ok();
    }
}
