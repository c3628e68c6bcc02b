//! Which context the calling process is in.

use std::fs;

/// In the source of a context's /proc; its number comes after it.
const SOURCE: &str = "vserver-context-";

/// The source that a context's /proc is mounted from: how a process finds out
/// that it is in a context, and in which.
pub fn source(number: u32) -> String {
    format!("{SOURCE}{number}")
}

/// The context that the calling process is in, if it is in one.
pub fn own_number() -> Option<u32> {
    number_in(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// proc_pid_mountinfo(5): field 5 is the place, the source is the second
/// field behind the lone "-". Of several at one place the last is on top.
fn number_in(mounts: &str) -> Option<u32> {
    let proc = mounts.lines().rev().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (before.split(' ').nth(4)? == "/proc").then(|| after.split(' ').nth(1))?
    })?;
    proc.strip_prefix(SOURCE)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_number_is_that_of_the_topmost_proc() {
        let line = |place: &str, source: &str| {
            format!("33 30 0:28 / {place} rw,nosuid shared:5 - proc {source} rw\n")
        };
        let host = line("/proc", "proc");
        assert_eq!(number_in(&host), None);
        let context = host.clone() + &line("/proc", &source(100));
        assert_eq!(number_in(&context), Some(100));
        let deeper = context.clone() + &line("/proc", "vserver-context-49160");
        assert_eq!(number_in(&deeper), Some(49_160));
        assert_eq!(number_in(&(context + &host)), None);
        assert_eq!(number_in(&line("/mnt", "vserver-context-100")), None);
    }
}
