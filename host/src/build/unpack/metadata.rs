//! Owner, permissions, times and attributes, set in the order that keeps them.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::tree::{Attributes, path_of};

use super::entry::Entry;
use super::shift::{ACCESS, DEFAULT, NOBODY, Shift};

/// File capabilities (capabilities(7)).
pub(crate) const CAPABILITY: &str = "security.capability";

/// What the host's root alone sees (xattr(7)).
pub(super) const TRUSTED: &str = "trusted.";

/// What the host notes at roots.
const NOTES: &[u8] = b"trusted.vserver.";

/// What users give their files.
const USER: &str = "user.";

/// What is to be set.
pub(super) struct Metadata {
    user: Uid,
    group: Gid,
    mode: Mode,
    times: Timestamps,
    attributes: Vec<(String, Vec<u8>)>,
    /// Has one of the attributes that were set before found no place?
    has_lost: bool,
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
            has_lost: false,
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

    /// Sets those attributes that nothing else depends on, so that they needn't be kept
    /// until the end: not access lists, which permissions change and new files take
    /// over.
    pub(super) fn set_first(&mut self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let is_list = |name: &str| name == ACCESS || name == DEFAULT;
        let all = std::mem::take(&mut self.attributes);
        let (lists, first) = all.into_iter().partition(|(name, _)| is_list(name));
        self.attributes = first;
        self.has_lost = !self.set_attributes(file)?;
        self.attributes = lists;
        Ok(())
    }

    /// Takes those from a directory that an earlier entry has given it and that this one,
    /// which comes in its place, hasn't. Lists are set at the end only, and of `trusted.`
    /// ones there are some if `is_faithful`.
    pub(super) fn take_others(&self, file: BorrowedFd<'_>, is_faithful: bool) -> Result<(), Errno> {
        for (name, _) in Attributes::read(file)?.iter() {
            let is_trusted = name.starts_with(TRUSTED.as_bytes()) && !name.starts_with(NOTES);
            let may_go = name.starts_with(USER.as_bytes()) || is_faithful && is_trusted;
            let is_kept = self.attributes.iter().any(|(own, _)| own.as_bytes() == name);
            if may_go && !is_kept {
                fs::removexattr(path_of(file), OsStr::from_bytes(name))?;
            }
        }
        Ok(())
    }

    /// Are there any such?
    pub(super) fn has_attributes(&self) -> bool {
        !self.attributes.is_empty()
    }

    /// Owner first: changing it takes set-user-id bits and capabilities away. False
    /// if the file system has no place for all attributes.
    pub(super) fn apply(&self, file: impl AsFd) -> Result<bool, Errno> {
        let file = file.as_fd();
        fs::fchown(file, Some(self.user), Some(self.group))?;
        fs::fchmod(file, self.mode)?;
        let all = self.set_attributes(file)?;
        fs::futimens(file, &self.times)?;
        Ok(all)
    }

    /// The same for what can't be opened, if it is of this kind.
    pub(super) fn apply_to_name(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        kind: FileType,
    ) -> Result<bool, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(parent, name, flags, Mode::empty())?;
        if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != kind {
            // Somebody else has made something else of it.
            return Err(Errno::STALE);
        }
        fs::chownat(&file, "", Some(self.user), Some(self.group), AtFlags::EMPTY_PATH)?;
        if kind != FileType::Symlink {
            fs::chmod(path_of(file.as_fd()), self.mode)?;
        }
        let all = self.set_attributes(file.as_fd())?;
        fs::utimensat(&file, "", &self.times, AtFlags::EMPTY_PATH)?;
        Ok(all)
    }

    fn set_attributes(&self, file: BorrowedFd<'_>) -> Result<bool, Errno> {
        let mut all = !self.has_lost;
        for (name, value) in &self.attributes {
            all &= set_attribute(file, name, value)?;
        }
        Ok(all)
    }
}

/// Gives an attribute to a file, which may be open as `O_PATH` only; false if that has
/// no place for it.
pub(super) fn set_attribute(file: BorrowedFd<'_>, name: &str, value: &[u8]) -> Result<bool, Errno> {
    match fs::setxattr(path_of(file), name, value, XattrFlags::empty()) {
        Ok(()) => Ok(true),
        // A file system without such attributes, or a value that the kernel finds
        // wrong, is no reason to lose the file.
        Err(Errno::OPNOTSUPP | Errno::INVAL) => Ok(false),
        // Only files and directories have those of users (xattr(7)).
        Err(Errno::PERM) if name.starts_with(USER) => Ok(false),
        Err(cause) => Err(cause),
    }
}
