//! Owner, permissions, times and attributes, set in the order that keeps them.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::entry::Entry;
use super::shift::{NOBODY, Shift};

/// File capabilities (capabilities(7)).
pub(crate) const CAPABILITY: &str = "security.capability";

/// What the host's root alone sees (xattr(7)).
pub(super) const TRUSTED: &str = "trusted.";

/// What is to be set.
pub(super) struct Metadata {
    user: Uid,
    group: Gid,
    mode: Mode,
    times: Timestamps,
    attributes: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    /// That of an entry. The flag tells that an id was none of a guest's.
    pub(super) fn new(entry: &Entry, shift: Shift) -> (Self, bool) {
        let (user, group) = (shift.user(entry.user), shift.group(entry.group));
        let modified = Timespec { tv_sec: entry.modified.0, tv_nsec: entry.modified.1.into() };
        let attribute = |(name, value): &(String, Vec<u8>)| {
            let value = if name == CAPABILITY { shift.capability(value)? } else { value.clone() };
            Some((name.clone(), value))
        };
        let metadata = Self {
            user: Uid::from_raw(user.unwrap_or(NOBODY)),
            group: Gid::from_raw(group.unwrap_or(NOBODY)),
            mode: Mode::from_raw_mode(entry.mode & 0o7777),
            times: Timestamps { last_access: modified, last_modification: modified },
            attributes: entry.attributes.iter().filter_map(attribute).collect(),
        };
        (metadata, user.is_none() || group.is_none())
    }

    /// Adds one more attribute.
    pub(super) fn add(&mut self, name: &str, value: Vec<u8>) {
        self.attributes.push((name.to_owned(), value));
    }

    /// Leaves those out that only the host's root sees: were there any?
    pub(super) fn drop_trusted(&mut self) -> bool {
        let before = self.attributes.len();
        self.attributes.retain(|(name, _)| !name.starts_with(TRUSTED));
        self.attributes.len() < before
    }

    /// Permissions alone.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Owner first: changing it takes set-user-id bits and capabilities away.
    pub(super) fn apply(&self, file: impl AsFd) -> Result<(), Errno> {
        let file = file.as_fd();
        fs::fchown(file, Some(self.user), Some(self.group))?;
        fs::fchmod(file, self.mode)?;
        for (name, value) in &self.attributes {
            match fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
                // A file system without such attributes, or a value that the
                // kernel finds wrong, is no reason to lose the file.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => {}
                Err(cause) => return Err(cause),
            }
        }
        fs::futimens(file, &self.times)
    }

    /// For what can't be opened.
    pub(super) fn apply_to_name(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        fs::chownat(parent, name, Some(self.user), Some(self.group), no_follow)?;
        fs::utimensat(parent, name, &self.times, no_follow)
    }
}
