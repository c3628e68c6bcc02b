//! A guest's files, before it has been booted and after: what isn't in the
//! list below is as it was, by inode and time of the last change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tests::Guest;

use tests::layouts::SLOW;

/// What a guest's own programs write, below its root; `*` at the end of a
/// name stands for any text.
const WRITTEN: &[&str] = &[
    // Logs, process ids, what services keep.
    "var",
    "run",
    "tmp",
    // A link to /proc/mounts, by Debian's mount scripts.
    "etc/mtab",
    // By systemd, where it is empty.
    "etc/machine-id",
    // By finit's shutdown.
    "etc/nologin",
    // By Debian's OpenRC: what depends on what.
    "usr/lib/rc/cache",
    // By runsv, beside each service that it runs.
    "etc/sv/*/supervise",
    "etc/sv/*/log/supervise",
    "etc/runit/runsvdir/default/*/supervise",
    // By runit's gettys that find no terminal: they disable themselves.
    "etc/runit/runsvdir/default/getty-*",
    "etc/runit/runsvdir/default/.getty-*",
];

/// Is this what guests write?
fn is_written(path: &str) -> bool {
    let fits = |known: &&str| {
        let (known, path) = (known.split('/'), path.split('/'));
        known.clone().count() == path.clone().count()
            && known.zip(path).all(|(known, name)| match known.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == known,
            })
    };
    WRITTEN.iter().any(fits) || path == SLOW.trim_start_matches('/')
}

/// All that a change of a file would change.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    /// Its entries are seen by themselves.
    Directory {
        mode: u32,
        owner: (u32, u32),
    },
    Other {
        inode: u64,
        changed: (i64, i64),
    },
}

/// The files of a guest at one time.
pub struct Files(BTreeMap<String, Entry>);

impl Files {
    pub fn of(guest: &Guest<'_>) -> Self {
        let mut found = BTreeMap::new();
        collect(&guest.root(), "", &mut found);
        Self(found)
    }

    /// Nothing has been changed, made or removed but what guests write.
    pub fn assert_untouched(&self, guest: &Guest<'_>) {
        let now = Self::of(guest);
        let all = self.0.keys().chain(now.0.keys());
        let changed: Vec<_> = all.filter(|path| self.0.get(*path) != now.0.get(*path)).collect();
        assert!(changed.is_empty(), "changed, made or removed by booting it: {changed:?}");
    }
}

fn collect(root: &Path, below: &str, found: &mut BTreeMap<String, Entry>) {
    let directory = root.join(below);
    for entry in fs::read_dir(&directory).expect("a directory can be read") {
        let name = entry.expect("a directory can be read").file_name();
        let path = format!("{below}{}", name.to_string_lossy());
        let is = fs::symlink_metadata(root.join(&path)).expect("it is there");
        if is_written(&path) {
            continue;
        }
        if is.is_dir() {
            let entry = Entry::Directory { mode: is.mode(), owner: (is.uid(), is.gid()) };
            found.insert(path.clone(), entry);
            collect(root, &format!("{path}/"), found);
        } else {
            let changed = (is.ctime(), is.ctime_nsec());
            found.insert(path, Entry::Other { inode: is.ino(), changed });
        }
    }
}
