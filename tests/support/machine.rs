//! What the host as a whole holds: sysctls, files of its system, links.
//! Only looks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Sysctls that change by themselves: prefix below /proc/sys, and why.
const VOLATILE: &[(&str, &str)] = &[
    ("fs/dentry-state", "counts directory entries"),
    ("fs/file-nr", "counts open files"),
    ("fs/inode-nr", "counts inodes"),
    ("fs/inode-state", "counts inodes"),
    ("fs/aio-nr", "counts requests"),
    ("fs/quota/", "counts quota operations"),
    ("kernel/ns_last_pid", "the last pid given"),
    ("kernel/pty/nr", "counts terminals"),
    ("kernel/random/", "random, or an estimate of entropy"),
    ("kernel/sched_domain/", "measured costs of balancing"),
    ("kernel/keys/", "counts keys"),
    ("kernel/perf_event_max_sample_rate", "lowered when its interrupts take long"),
    ("kernel/hung_task_detect_count", "counts tasks that wait long"),
    ("net/netfilter/nf_conntrack_count", "counts connections"),
    ("net/ipv4/tcp_fastopen_key", "made at its first use"),
    ("vm/stat_refresh", "reading it acts"),
    ("vm/compact_memory", "acts, holds nothing"),
];

/// Every readable sysctl of this network namespace, but those that change by
/// themselves.
pub fn sysctls() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let root = Path::new("/proc/sys");
    walk(root, &mut |path, metadata| {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
        let volatile = VOLATILE.iter().any(|(prefix, _)| name.starts_with(prefix));
        let readable = metadata.is_file() && metadata.mode() & 0o444 != 0 && !volatile;
        if readable && let Ok(bytes) = fs::read(path) {
            found.insert(path.to_owned(), String::from_utf8_lossy(&bytes).trim().to_owned());
        }
    });
    found
}

/// Writes the old value of each sysctl that has changed.
pub fn restore_sysctls(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) {
    for (path, old) in before.iter().filter(|(path, old)| after.get(*path) != Some(old)) {
        if let Err(cause) = fs::write(path, old) {
            eprintln!("cannot restore {path:?}: {cause}");
        }
    }
}

/// Owner, mode, size and time of change of everything below the directories
/// that make a system, and of its device nodes.
pub fn system_files() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for root in ["/etc", "/usr/bin", "/usr/sbin", "/usr/lib", "/boot", "/dev"] {
        walk(Path::new(root), &mut |path, m| {
            // A device node is written to all the time; what it is matters.
            let content =
                if root == "/dev" { m.rdev() } else { m.size() + m.ctime().cast_unsigned() };
            let volatile = path.starts_with("/dev/pts") || path.starts_with("/dev/shm");
            // Guests of this host's own.
            let own = path.starts_with("/etc/vservers");
            // The kernel makes another one when all are in use, by whatever test.
            let is_loop = path.to_string_lossy().starts_with("/dev/loop");
            if !volatile && !own && !is_loop && !m.is_dir() {
                let (mode, uid, gid) = (m.mode(), m.uid(), m.gid());
                found.insert(path.to_owned(), format!("{mode:o} {uid}:{gid} {content}"));
            }
        });
    }
    found
}

/// The network links of this network namespace.
pub fn links() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The files that loop devices show
/// (Documentation/ABI/testing/sysfs-block-loop).
pub fn loop_files() -> Vec<String> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("loop/backing_file"));
    entries.filter_map(|entry| Some(file(entry).ok()?.trim_end().to_owned())).collect()
}

/// Where the cgroup v2 hierarchy is mounted.
pub fn cgroup_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let place = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let place = place.and_then(|line| line.split(' ').nth(4));
    PathBuf::from(place.expect("a cgroup2 mount; see cgroups(7)"))
}

/// Demands that two tables are the same, and shows each line that isn't.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn assert_same(
    what: &str,
    before: &BTreeMap<PathBuf, String>,
    after: &BTreeMap<PathBuf, String>,
) {
    let mut lines = Vec::new();
    for (path, old) in before {
        match after.get(path) {
            None => lines.push(format!("gone     {}", path.display())),
            Some(new) if new != old => {
                lines.push(format!("changed  {}: {old:?} to {new:?}", path.display()));
            }
            Some(_) => {}
        }
    }
    let new = after.keys().filter(|path| !before.contains_key(*path));
    lines.extend(new.map(|path| format!("new      {}", path.display())));
    assert!(lines.is_empty(), "{what} changed:\n{}", lines.join("\n"));
}

/// Calls `visit` for everything below `directory`; doesn't follow links and
/// stays on one file system.
fn walk(directory: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    let Ok(own) = fs::symlink_metadata(directory) else { return };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        visit(&path, &metadata);
        if metadata.is_dir() && metadata.dev() == own.dev() {
            walk(&path, visit);
        }
    }
}
