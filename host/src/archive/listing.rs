//! What a tree of files was like, name by name, in the order of a walk. Pure.
//!
//! A guest may have millions of names: they stand behind each other in one
//! piece of memory, each without what it has in common with the one before.

use std::ffi::OsStr;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// By what it is told that a file is as it was. A user's program can set none
/// of it but the size; a change of any kind sets `changed` (inode(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Device, 0 for that of the root, and inode.
    pub inode: (u64, u64),
    /// Time of its last change, seconds and nanoseconds.
    pub changed: (i64, u64),
    /// Its length.
    pub size: u64,
    /// Its type, as in the mode.
    pub kind: u32,
    /// Is it no directory, and has it several names?
    pub is_linked: bool,
}

impl Seen {
    /// The same of which nobody can tell whether it stays as it is: it is equal
    /// to no file.
    #[must_use]
    pub fn in_doubt(self) -> Self {
        Self { inode: (0, 0), ..self }
    }
}

/// One name as it is kept.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    /// How many bytes of the path before it begins with.
    shared: usize,
    #[serde(borrow)]
    rest: &'a [u8],
    seen: Seen,
}

/// Names, each directory before what is in it, names in it in the order of
/// their bytes: so [`crate::tree::walk`] comes by, and so paths are ordered.
#[derive(Debug, Default)]
pub struct Listing {
    bytes: Vec<u8>,
    last: Vec<u8>,
    length: u64,
}

impl Listing {
    /// Adds the next name.
    pub fn push(&mut self, path: &Path, seen: Seen) {
        let path = path.as_os_str().as_bytes();
        let shared = self.last.iter().zip(path).take_while(|(a, b)| a == b).count();
        let stored = Stored { shared, rest: path.get(shared..).unwrap_or_default(), seen };
        // Numbers and bytes always have a form.
        if let Ok(bytes) = postcard::to_extend(&stored, mem::take(&mut self.bytes)) {
            self.bytes = bytes;
            self.length += 1;
        }
        self.last.truncate(shared);
        self.last.extend(stored.rest);
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PathBuf, Seen)> {
        let (mut rest, mut path) = (self.bytes.as_slice(), Vec::new());
        std::iter::from_fn(move || {
            let (stored, after) = postcard::take_from_bytes::<Stored<'_>>(rest).ok()?;
            rest = after;
            path.truncate(stored.shared);
            path.extend(stored.rest);
            Some((PathBuf::from(OsStr::from_bytes(&path)), stored.seen))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_gives_back_what_it_was_given(
            names in prop::collection::vec(prop::collection::vec(1u8.., 0..9), 0..40),
            numbers: (u64, u64, i64, u64, u64, u32),
        ) {
            let (device, inode, second, nanosecond, size, kind) = numbers;
            let seen = Seen {
                inode: (device, inode),
                changed: (second, nanosecond),
                size,
                kind,
                is_linked: inode % 2 == 0,
            };
            let mut listing = Listing::default();
            let paths = names.iter().map(|name| PathBuf::from(OsStr::from_bytes(name)));
            let given: Vec<_> = paths.map(|path| (path, seen)).collect();
            given.iter().for_each(|(path, seen)| listing.push(path, *seen));
            prop_assert_eq!(listing.len(), given.len() as u64);
            prop_assert_eq!(listing.iter().collect::<Vec<_>>(), given);
        }
    }

    #[test]
    fn a_name_takes_little_room() {
        let mut listing = Listing::default();
        for number in 0..10_000u64 {
            let seen = Seen {
                inode: (0xfe01, 1_000_000 + number),
                changed: (1_700_000_000, 999_999_999),
                size: 1 << 20,
                kind: 0o100_000,
                is_linked: false,
            };
            listing.push(&PathBuf::from(format!("usr/share/doc/package/file-{number:05}")), seen);
        }
        assert!(listing.bytes.len() < 10_000 * 40, "{} bytes", listing.bytes.len());
    }
}
