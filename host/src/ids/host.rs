//! Which ids of the host are taken: by users and groups, by ranges that the
//! administrator gave away, by user namespaces that exist now.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// All ranges taken, as `etc` (`/etc`) and `proc` (`/proc`) show them. What
/// can't be read takes nothing: the files are optional, and processes come
/// and go.
pub fn taken(etc: &Path, proc: &Path) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    for file in ["subuid", "subgid"] {
        ranges.extend(read(&etc.join(file)).lines().filter_map(subordinate));
    }
    for file in ["passwd", "group"] {
        ranges.extend(read(&etc.join(file)).lines().filter_map(account));
    }
    ranges.extend(namespaces(proc));
    ranges
}

/// A line of subuid(5): `NAME:FIRST:COUNT`.
fn subordinate(line: &str) -> Option<Range<u64>> {
    let mut fields = line.trim().split(':').skip(1);
    let first: u32 = fields.next()?.parse().ok()?;
    let count: u32 = fields.next()?.parse().ok()?;
    Some(range(first, count))
}

/// A line of passwd(5) or group(5): the id is the third field.
fn account(line: &str) -> Option<Range<u64>> {
    Some(range(line.split(':').nth(2)?.parse().ok()?, 1))
}

/// A line of `uid_map` (user_namespaces(7)): `INSIDE OUTSIDE COUNT`.
fn mapped(line: &str) -> Option<Range<u64>> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let outside: u32 = fields.next()?.parse().ok()?;
    let count: u32 = fields.next()?.parse().ok()?;
    Some(range(outside, count))
}

fn range(first: u32, count: u32) -> Range<u64> {
    u64::from(first)..u64::from(first) + u64::from(count)
}

/// What is mapped into user namespaces other than our own, each read once.
fn namespaces(proc: &Path) -> Vec<Range<u64>> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/user")).ok();
    let mut seen: BTreeSet<OsString> =
        namespace(&proc.join("self")).into_iter().map(Into::into).collect();
    let mut ranges = Vec::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let process = entry.path();
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let is_new = namespace(&process).is_some_and(|name| seen.insert(name.into()));
        if is_new {
            for map in ["uid_map", "gid_map"] {
                ranges.extend(read(&process.join(map)).lines().filter_map(mapped));
            }
        }
    }
    ranges
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn users_ranges_and_namespaces_are_taken() {
        let host = tempfile::tempdir().unwrap();
        let (etc, proc) = (host.path().join("etc"), host.path().join("proc"));
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("subuid"), "# x\nann:1879048192:65536\nbroken\n\n").unwrap();
        fs::write(etc.join("passwd"), "root:x:0:0::/:/bin/sh\nbig:x:1900000000:1::/:\n").unwrap();
        for (process, namespace, map) in [
            ("self", "user:[1]", "0 0 4294967295"),
            ("7", "user:[1]", "0 0 4294967295"),
            ("8", "user:[2]", "         0 1900000000      65536\n"),
            ("9", "user:[2]", "         0 1900000000      65536\n"),
        ] {
            let directory = proc.join(process);
            fs::create_dir_all(directory.join("ns")).unwrap();
            symlink(namespace, directory.join("ns/user")).unwrap();
            fs::write(directory.join("uid_map"), map).unwrap();
        }
        let mut taken = taken(&etc, &proc);
        taken.sort_by_key(|range| (range.start, range.end));
        let subordinate = 1_879_048_192..1_879_113_728;
        let wanted =
            [0..1, subordinate, 1_900_000_000..1_900_000_001, 1_900_000_000..1_900_065_536];
        assert_eq!(taken, wanted);
    }

    #[test]
    fn a_range_up_to_the_last_id_does_not_overflow() {
        assert_eq!(subordinate("a:4294967295:4294967295").unwrap().end, 8_589_934_590);
    }
}
