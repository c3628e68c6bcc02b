//! Two trees, compared by rsync(1): owners, modes, times, links, access lists,
//! attributes and bytes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{Guest, command};

/// How long a tool may take.
const PATIENCE: Duration = Duration::from_secs(120);

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
    let found = command::run(&mut rsync, PATIENCE).ok();
    // "YXcstpoguax PATH", or "*deleting   PATH" (rsync(1)).
    let path = |line: &str| line.split_once(' ').map(|(_, path)| path.trim_start().to_owned());
    let mut paths: Vec<_> = found.stdout.lines().filter_map(path).collect();
    paths.sort();
    paths
}

/// Puts files of all kinds into `/srv` of a guest: links, holes, closed ones,
/// odd names, attributes, access lists, capabilities, times.
///
/// # Panics
/// When a tool fails.
#[track_caller]
pub fn furnish(guest: &Guest<'_>) {
    let make = "set -e; cd /srv; mkfifo fifo; ln -s /etc/shadow link; ln -s /nowhere dangling
        echo one >one; ln one two; chmod 4755 one; mkdir closed; echo x >closed/x; chmod 0 closed
        printf a >sparse; dd if=/dev/zero of=sparse bs=1 count=1 seek=67108864
        touch -d '2001-02-03 04:05:06' one; touch ' odd
name'; chown -h 1000:1000 dangling
        long=$(printf %0200d 7); mkdir $long; echo long >$long/$long; ln -s $long/$long far";
    guest.shell(make).ok();
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).current_dir(guest.root().join("srv"));
        command::run(&mut command, PATIENCE).ok();
    };
    run("setfattr", &["-n", "user.colour", "-v", "green", "two"]);
    run("setfattr", &["-h", "-n", "trusted.note", "-v", "host", "closed", "dangling"]);
    run("setfacl", &["-m", "u:1000:rwx", "closed"]);
    // Its group has less than its mode says: that is the mask.
    run("setfacl", &["-m", "u:1000:rw", "fifo"]);
    run("setfacl", &["-d", "-m", "g:2000:r-x", "closed"]);
    run("setcap", &["cap_net_raw=ep", "closed/x"]);
}

/// The holes of what [`furnish`] makes are there in the other guest, too:
/// rsync doesn't look at them.
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn assert_holes(guest: &Guest<'_>, other: &Guest<'_>) {
    let blocks = |guest: &Guest<'_>| {
        fs::metadata(guest.root().join("srv/sparse")).expect("it is there").blocks()
    };
    assert!(blocks(other) <= blocks(guest) + 16, "it has become whole");
}
