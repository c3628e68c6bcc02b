//! A guest's whole tree of files: walked, and copied with all that belongs to
//! each file.
//!
//! Whoever made the tree is not trusted. Everything is reached by descriptors
//! from its root, no link is followed, no mount is crossed unless that is asked
//! for, no device, FIFO or socket is opened.

mod attributes;
mod calm;
mod content;
mod copy;
mod kernel;
mod room;
mod staging;
mod walk;

use rustix::fs::{FileType, Stat};

pub use attributes::{Attributes, give, path_of};
pub use calm::Calm;
pub use content::copy_file;
pub use copy::{Change, Copied, Manner, copy, copy_name};
pub use staging::{Placed, Staging, check_place, sweep};
pub use walk::{DEEPEST, Entry, Ground, Passed, Pinned, Step, mounted, pin, unread, walk, walk_on};

/// Is it a character device 0:0, by which an overlay knows what was removed from
/// below? Anybody may make one (mknod(2)), and no device is behind it.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// That so many files have lost attributes, if some have.
pub fn without_attributes(files: u64) -> Option<String> {
    let why = "because the file system has no place for them";
    (files > 0).then(|| format!("{files} files have lost attributes, {why}"))
}

/// Called between two files; its error ends the work.
pub type Check<'a> = &'a dyn Fn() -> crate::error::Result<()>;

#[cfg(test)]
mod tests;
