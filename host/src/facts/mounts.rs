//! The mount table, `/proc/self/mountinfo` (proc_pid_mountinfo(5)). Pure.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Which directory of the file system is mounted.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// Options of the mount and of the file system ("ro", "nosuid").
    pub options: Vec<String>,
    /// Type of the file system.
    pub kind: String,
}

impl Mount {
    /// Is this option set?
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|set| set == option)
    }
}

/// All mounts, in the order of the table; lines of another form are left out.
pub fn parse(table: &str) -> Vec<Mount> {
    table.lines().filter_map(mount).collect()
}

/// The mount that a path without symbolic links lies in: of those with the
/// longest mount point the last, which covers the others.
pub fn containing<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    around.max_by_key(|mount| mount.point.components().count())
}

/// Number, parent, device, root, mount point, options, any optional fields,
/// `-`, type, source, file system's options.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, point) = (unescape(before.next()?), unescape(before.next()?));
    let options = before.next()?;
    let mut after = after.split(' ');
    let kind = after.next()?.to_owned();
    let more = after.nth(1).unwrap_or_default();
    let options = options.split(',').chain(more.split(',')).map(str::to_owned).collect();
    Some(Mount { root, point, options, kind })
}

/// Blanks, tabs, newlines and backslashes stand as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| behind.get(..3)).flatten();
        let code = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 27 0:28 / /sys/fs/cgroup rw,nosuid shared:5 - tmpfs tmpfs rw
32 31 0:38 / /sys/fs/cgroup/unified rw,relatime master:1 shared:2 - cgroup2 cgroup2 rw
33 27 8:1 /sub /srv/a\\040b ro,nodev - xfs /dev/sda1 rw
34 33 0:40 / /srv/a\\040b rw - tmpfs none rw
";

    #[test]
    fn mounts_are_read_with_optional_fields_and_escapes() {
        let mounts = parse(TABLE);
        assert_eq!(mounts.len(), 5);
        assert_eq!(mounts[2].kind, "cgroup2");
        assert_eq!(mounts[3].point, Path::new("/srv/a b"));
        assert_eq!(mounts[3].root, Path::new("/sub"));
        assert!(mounts[3].has("ro") && mounts[3].has("nodev") && !mounts[1].has("nodev"));
    }

    #[test]
    fn the_last_mount_on_a_place_covers_the_others() {
        let mounts = parse(TABLE);
        let kind = |path: &str| containing(&mounts, Path::new(path)).map(|m| m.kind.as_str());
        assert_eq!(kind("/srv/a b/c"), Some("tmpfs"));
        assert_eq!(kind("/srv/a"), Some("ext4"));
        assert_eq!(kind("/sys/fs/cgroup/unified"), Some("cgroup2"));
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic(table in "([ -~]| - |\\\\[0-9]{0,4}|\n){0,60}") {
            parse(&table);
        }
    }
}
