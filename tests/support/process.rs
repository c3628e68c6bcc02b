//! What /proc says about processes.

use std::fs;
use std::path::{Path, PathBuf};

/// A process of the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// All processes for which this is true of their directory in /proc.
pub fn processes(matches: impl Fn(&Path) -> bool) -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<_> = pids.filter(|pid| matches(&directory(*pid))).filter_map(read).collect();
    found.sort();
    found
}

/// The process with this pid, unless it has ended.
pub fn read(pid: i32) -> Option<Process> {
    let directory = directory(pid);
    let comm = fs::read_to_string(directory.join("comm")).ok()?.trim_end().to_owned();
    let bytes = fs::read(directory.join("cmdline")).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let arguments = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    Some(Process { pid, comm, arguments })
}

/// Is there such a process, and is it not a zombie?
pub fn is_alive(pid: i32) -> bool {
    !matches!(state(pid), 'Z' | 'X')
}

/// Whether its pid still names it: a zombie has ended, and takes signals until
/// its parent has reaped it.
pub fn is_there(pid: i32) -> bool {
    state(pid) != 'X'
}

/// Its state, one letter (proc(5)); X when there is no such process.
pub fn state(pid: i32) -> char {
    state_and_parent(pid).0
}

fn state_and_parent(pid: i32) -> (char, i32) {
    let stat = fs::read_to_string(directory(pid).join("stat")).unwrap_or_default();
    // The name stands in brackets and may hold anything.
    let rest = stat.rsplit_once(") ").map_or("X", |(_, rest)| rest);
    let mut words = rest.split(' ');
    let state = words.next().and_then(|word| word.chars().next()).unwrap_or('X');
    let parent = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    (state, parent)
}

/// Has it ended, and is only the machine's own init still to take note? How
/// soon that does is not this project's.
pub fn is_left_to_init(pid: i32) -> bool {
    let (state, parent) = state_and_parent(pid);
    state == 'Z' && parent == 1
}

/// How many descriptors it has open.
pub fn descriptors(pid: i32) -> usize {
    let entries = fs::read_dir(directory(pid).join("fd"));
    entries.unwrap_or_else(|cause| panic!("cannot list the descriptors of {pid}: {cause}")).count()
}

/// Its proportional set size (proc(5), `smaps_rollup`), in bytes.
///
/// # Panics
/// When there is no such process.
pub fn pss(pid: i32) -> u64 {
    pss_if_there(pid).unwrap_or_else(|| panic!("process {pid} has ended"))
}

/// The same of one that may end.
pub fn pss_if_there(pid: i32) -> Option<u64> {
    let path = directory(pid).join("smaps_rollup");
    let text = match fs::read_to_string(&path) {
        // It ends in this moment (ESRCH).
        Err(_) if !is_alive(pid) => return None,
        other => other.unwrap_or_else(|cause| panic!("cannot read {path:?}: {cause}")),
    };
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes =
        line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Some(1024 * kilobytes.unwrap_or_else(|| panic!("no Pss in {path:?}: {text}")))
}

/// Bytes of memory that are a process's alone: what it shares with others of its
/// program counts less the more of them there are.
///
/// # Panics
/// When there is no such process.
pub fn anonymous(pid: i32) -> u64 {
    let status = fs::read_to_string(directory(pid).join("status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.expect("it is told") * 1024
}

/// Its children.
pub fn children(pid: i32) -> Vec<i32> {
    let path = directory(pid).join(format!("task/{pid}/children"));
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn directory(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}
