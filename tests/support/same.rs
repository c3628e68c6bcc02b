//! Two trees, compared by rsync(1): owners, modes, times, links, access lists,
//! attributes and bytes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command;

/// The paths in which `other` differs from `tree`, in order; directories whose
/// times alone differ are left out.
///
/// # Panics
/// When rsync fails.
#[track_caller]
pub fn differences(tree: &Path, other: &Path) -> Vec<String> {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXn", "--numeric-ids", "--delete", "--checksum", "--itemize-changes"]);
    rsync.args(["--devices", "--specials", "--omit-dir-times"]);
    rsync.arg(format!("{}/", tree.display())).arg(format!("{}/", other.display()));
    let found = command::run(&mut rsync, Duration::from_secs(120)).ok();
    // "YXcstpoguax PATH", or "*deleting   PATH" (rsync(1)).
    let path = |line: &str| line.split_once(' ').map(|(_, path)| path.trim_start().to_owned());
    let mut paths: Vec<_> = found.stdout.lines().filter_map(path).collect();
    paths.sort();
    paths
}
