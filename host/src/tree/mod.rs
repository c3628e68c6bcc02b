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
mod staging;
mod walk;

pub use attributes::{Attributes, give};
pub use calm::Calm;
pub use content::copy_file;
pub use copy::{Change, Copied, Manner, copy, copy_name};
pub use staging::{Placed, Staging, check_place, sweep};
pub use walk::{Entry, Ground, Passed, Pinned, Step, mounted, pin, walk, walk_on};

/// Called between two files; its error ends the work.
pub type Check<'a> = &'a dyn Fn() -> crate::error::Result<()>;

#[cfg(test)]
mod tests;
