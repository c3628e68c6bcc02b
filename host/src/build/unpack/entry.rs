//! What an archive says of one name, whatever the archive's form.

use super::acl::List;

/// One entry.
#[derive(Clone, Debug)]
pub(in crate::build) struct Entry {
    /// Its path as the archive writes it.
    pub(in crate::build) name: Vec<u8>,
    /// What it is.
    pub(in crate::build) kind: Kind,
    /// Number of its owner.
    pub(in crate::build) user: u64,
    /// Number of its group.
    pub(in crate::build) group: u64,
    /// Permissions, with the set-id and sticky bits.
    pub(in crate::build) mode: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(in crate::build) modified: (i64, u32),
    /// Extended attributes that may be set, with their values.
    pub(in crate::build) attributes: Vec<(String, Vec<u8>)>,
    /// Access lists; for new files in a directory, if the flag is set.
    pub(in crate::build) lists: Vec<(bool, List)>,
    /// Has it attributes that are not for a guest?
    pub(in crate::build) has_more: bool,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::build) enum Kind {
    /// A file, whose bytes follow.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A further name of an earlier entry.
    HardLink(Vec<u8>),
    /// A FIFO.
    Fifo,
    /// A character device 0:0, by which an overlay knows what was removed, and which
    /// anybody may make: no device is behind it.
    Whiteout,
    /// Another device node.
    Device,
    /// A socket, or what nobody knows.
    Other,
}

/// How a file's bytes stand in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::build) enum Content {
    /// All of them, this many.
    Whole(u64),
    /// Without its holes.
    Sparse {
        /// Of the whole file.
        size: u64,
        /// Offset and length of each part that has data, in order.
        parts: Vec<(u64, u64)>,
    },
}
