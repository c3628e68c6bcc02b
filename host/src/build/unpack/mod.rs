//! Lays archives that anybody may have made into a root.
//!
//! `source` takes the compression off, `tarball` and `newc` read the two
//! forms into the same [`Entry`], and `extract` lays entries into the root
//! and nowhere else. Device nodes are left out and named: the host makes a
//! guest's devices. What an overlay shows as nothing (0:0) is none.

pub(crate) mod acl;
mod entry;
mod extract;
mod left_out;
mod lists;
mod metadata;
mod newc;
mod shift;
mod source;
mod tarball;
mod whiteout;

use std::io::{self, Read};

use crate::error::{Error, Result};

use entry::Entry;
pub(super) use entry::Kind;
pub(super) use extract::Extractor;
pub(crate) use left_out::{LeftOut, remarks};
pub(crate) use metadata::CAPABILITY;
pub(super) use shift::Shift;
pub(crate) use shift::{ACCESS, DEFAULT, IDS, NOBODY};
pub(super) use source::{Counted, Watched, decompressed, fill, input};

/// Enough bytes to hold tar's own magic (at offset 257, tar(5)).
const HEAD: usize = 512;

/// Hands over every entry of an archive without compression, tar or cpio.
///
/// # Errors
/// When it is no archive, is damaged or cut off, or `work` fails.
pub(super) fn walk(
    mut plain: Box<dyn Read>,
    work: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut head = vec![0; HEAD];
    let length = fill(&mut plain, &mut head).map_err(unreadable)?;
    head.truncate(length);
    let form = form(&head);
    let whole = Box::new(io::Cursor::new(head).chain(plain));
    match form {
        Form::Tar => tarball::walk(whole, work),
        Form::Cpio => newc::walk(whole, work),
        Form::Unknown(what) => Err(Error::new(format!("{what} isn't understood")).hint(
            "tar and cpio (newc) are, plain or compressed with gzip, bzip2, xz, zstd or lz4",
        )),
    }
}

enum Form {
    Tar,
    Cpio,
    Unknown(&'static str),
}

/// What the first bytes tell (cpio(5), tar(5)).
fn form(head: &[u8]) -> Form {
    match head {
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => Form::Cpio,
        [b'0', b'7', b'0', b'7', b'0', b'7', ..] => Form::Unknown("cpio's old 'odc' form"),
        [0xc7, 0x71, ..] | [0x71, 0xc7, ..] => Form::Unknown("cpio's old 'bin' form"),
        [b'P', b'K', 3, 4, ..] => Form::Unknown("zip"),
        _ if tarball::is_header(head) => Form::Tar,
        _ => Form::Unknown("its form"),
    }
}

/// An archive can't be read: whoever has cut it off leaves half of something, which each
/// form tells in words of its own.
pub(super) fn unreadable(cause: io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::UnexpectedEof => Error::new("it is cut off"),
        _ => Error::os("cannot read it", cause),
    }
}

#[cfg(test)]
mod tests;
