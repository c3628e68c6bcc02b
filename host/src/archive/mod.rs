//! A guest in one file: a pax archive (pax(1)), compressed with zstd, that
//! tar(1) can list and unpack.
//!
//! Its members, in this order:
//!
//! - `vserver/manifest.toml`: whose it is; see [`Manifest`].
//! - `vserver/config.toml`: the text of the guest's configuration file.
//! - `vserver/actions`: its actions on the host, if the manifest says so.
//! - `root/…`: its files, with numeric owners, nanoseconds, extended attributes
//!   (`SCHILY.xattr.`, with `%` and `=` in their names as `%25` and `%3D`), hard links and holes (GNU's sparse format 1.0).
//! - only of a guest that ran, as the manifest says by its form: `vserver/first`,
//!   which is empty, when all of its files were written while they went on
//!   living; `vserver/removed`, the paths (each with a zero byte behind it) that
//!   were no more when they had come to rest, to be removed with all below; and
//!   again `root/…`, what was another by then, in the place of what was first.
//! - `vserver/sha256`: the SHA-256 of all bytes before this member's content,
//!   compression taken off. What doesn't end with it is not whole.

mod changes;
mod digest;
mod listing;
mod live;
mod manifest;
mod member;
mod sparse;
mod write;

pub use digest::{Summed, hex};
pub use listing::{Listing, Seen};
pub use manifest::Manifest;
pub use member::attribute;
pub use write::{Archive, Head, Written, plain, write};

/// The members beside the guest's files.
pub const MANIFEST: &str = "vserver/manifest.toml";
/// The configuration.
pub const CONFIG: &str = "vserver/config.toml";
/// The actions.
pub const ACTIONS: &str = "vserver/actions";
/// The end of what was written while the guest ran.
pub const FIRST: &str = "vserver/first";
/// What has gone since.
pub const REMOVED: &str = "vserver/removed";
/// The sum of everything before.
pub const DIGEST: &str = "vserver/sha256";
/// The directory of the guest's files, as it begins each of their names.
pub const ROOT: &str = "root/";

/// Parts of a file with holes that an archive holds, and whoever reads it believes
/// in.
pub const MOST_PARTS: usize = 1 << 16;

/// No path is longer than this: 1,000 directories in each other, which is as deep as
/// a walk goes, have less.
pub const LONGEST_PATH: usize = 1 << 18;

/// Bytes that a member's names and attributes take, together.
pub const MOST_METADATA: u32 = 4 * 1024 * 1024;
