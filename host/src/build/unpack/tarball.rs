//! Reads tar archives: old, ustar, GNU and pax, with access lists,
//! attributes and holes.

use std::io::{self, Read};

use tar_core::parse::{Limits, ParseError, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, Header, PaxExtensions, SparseEntry};

use crate::archive::{self, LONGEST_PATH, MOST_METADATA, MOST_PARTS};
use crate::error::{Error, Result};

use super::acl;
use super::entry::{Content, Entry, Kind};
use super::metadata::{CAPABILITY, TRUSTED};
use super::{fill, unreadable};

/// Everything stands in blocks of this size (tar(5)).
const BLOCK: usize = 512;

/// A directory with the names that it had, which `tar --listed-incremental` writes
/// (GNU tar's manual, "Dumpdir").
const DUMP_DIRECTORY: u8 = b'D';

/// The rest of a file whose beginning another volume has (GNU tar).
const CONTINUED: u8 = b'M';

/// How pax archives mark the text of access lists (star(1)).
const LISTS: [(&str, bool); 2] = [("SCHILY.acl.access", false), ("SCHILY.acl.default", true)];

/// No attribute's value is larger (linux/limits.h, XATTR_SIZE_MAX).
const LARGEST: usize = 65536;

/// A tar header, or the zeros of an empty archive?
pub(super) fn is_header(head: &[u8]) -> bool {
    let Some(head) = head.first_chunk::<BLOCK>() else { return false };
    // An old one has no magic, but its checksum.
    head.get(257..262) == Some(b"ustar")
        || head.iter().all(|byte| *byte == 0)
        || Header::from_bytes(head).verify_checksum().is_ok()
}

/// Hands over every entry. Nothing is read ahead: when `work` is called for one
/// without holes, what precedes the entry's bytes was read, and no more.
///
/// # Errors
/// When the archive is damaged or cut off, or `work` fails.
pub(super) fn walk(
    mut plain: Box<dyn Read>,
    work: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut parser = Parser::new(Limits {
        max_metadata_size: MOST_METADATA,
        max_sparse_entries: MOST_PARTS,
        max_path_len: Some(LONGEST_PATH as u32),
        ..Limits::default()
    });
    parser.set_allow_empty_path(true);
    // A time with a sign, say, which is read here.
    parser.set_ignore_pax_errors(true);
    let mut head = Vec::new();
    loop {
        let (entry, size, used) = match parser.parse(&head).map_err(damaged)? {
            ParseEvent::NeedData { min_bytes } => {
                let had = head.len();
                head.resize(min_bytes, 0);
                let read = fill(&mut plain, head.get_mut(had..).unwrap_or_default());
                let read = had + read.map_err(unreadable)?;
                if read < min_bytes {
                    return end(head.get(..read).unwrap_or_default());
                }
                continue;
            }
            ParseEvent::End { .. } => return Ok(()),
            ParseEvent::GlobalExtensions { consumed, .. } => {
                head.drain(..consumed);
                continue;
            }
            ParseEvent::Entry { entry, consumed } => {
                (describe(&entry, None)?, entry.size, consumed)
            }
            ParseEvent::SparseEntry { entry, sparse_map, real_size, consumed } => {
                let parts = parts(&sparse_map, real_size)?;
                let content = Content::Sparse { size: real_size, parts };
                (describe(&entry, Some(content))?, entry.size, consumed)
            }
        };
        // The parser asks for the map of a file's holes in steps that may end
        // behind it, in the file's bytes.
        head.drain(..used);
        let mut rest = (io::Cursor::new(&head)).chain(&mut plain);
        let mut data = (&mut rest).take(size);
        work(entry, &mut data)?;
        let unread = data.limit() + (size.next_multiple_of(BLOCK as u64) - size);
        let skipped = io::copy(&mut (&mut rest).take(unread), &mut io::sink());
        if skipped.map_err(unreadable)? != unread {
            return Err(cut_off());
        }
        let used = usize::try_from(rest.get_ref().0.position()).unwrap_or(head.len());
        head.drain(..used);
    }
}

fn damaged(cause: ParseError) -> Error {
    Error::new(format!("the archive is damaged: {cause}"))
}

fn cut_off() -> Error {
    Error::new("the archive is cut off")
}

/// What stands where nothing follows: one block of zeros will do as an end.
fn end(rest: &[u8]) -> Result<()> {
    let is_end = rest.len() == BLOCK && rest.iter().all(|byte| *byte == 0);
    if is_end { Ok(()) } else { Err(cut_off()) }
}

/// What the headers say.
fn describe(raw: &ParsedEntry<'_>, sparse: Option<Content>) -> Result<Entry> {
    let link = || raw.link_target.as_deref().unwrap_or_default().to_vec();
    let content = sparse.unwrap_or(Content::Whole(raw.size));
    let kind = match raw.entry_type {
        EntryType::Directory => Kind::Directory,
        // Old archives mark directories by the name alone.
        EntryType::Regular if raw.path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => Kind::File(content),
        EntryType::Symlink => Kind::Symlink(link()),
        EntryType::Link => Kind::HardLink(link()),
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char if (raw.dev_major, raw.dev_minor) == (Some(0), Some(0)) => Kind::Whiteout,
        EntryType::Char | EntryType::Block => Kind::Device,
        EntryType::Other(DUMP_DIRECTORY) => Kind::Directory,
        EntryType::Other(CONTINUED) => {
            return Err(Error::new("it is a further volume of an archive")
                .hint("give all of them as one: tar --multi-volume --extract, and pack that"));
        }
        _ => Kind::Other,
    };
    let mut entry = Entry {
        name: raw.path.to_vec(),
        kind,
        user: raw.uid,
        group: raw.gid,
        mode: raw.mode,
        // GNU tar writes what was before 1970 as a number with a sign.
        modified: (raw.mtime.cast_signed(), 0),
        attributes: Vec::new(),
        lists: Vec::new(),
        has_more: false,
    };
    for extension in PaxExtensions::new(raw.pax.unwrap_or_default()) {
        let extension = extension.map_err(|cause| damaged(cause.into()))?;
        let Ok(key) = extension.key() else {
            entry.has_more = true;
            continue;
        };
        extend(&mut entry, key, extension.value_bytes());
    }
    Ok(entry)
}

/// Takes in one key of a pax header that the parser leaves to others.
fn extend(entry: &mut Entry, key: &str, value: &[u8]) {
    let text = || std::str::from_utf8(value).unwrap_or_default();
    if key == "mtime" {
        entry.modified = seconds(text()).unwrap_or(entry.modified);
    } else if let Some((_, default)) = LISTS.iter().find(|(name, _)| *name == key) {
        match acl::parse(text()) {
            Some(items) => entry.lists.push((*default, items)),
            None => entry.has_more = true,
        }
    } else if let Some(name) = archive::attribute(key) {
        attribute(entry, &name, value);
    }
}

/// File capabilities, access lists, the users' own attributes and those of the
/// host's root; others belong to the kernel.
fn attribute(entry: &mut Entry, name: &str, value: &[u8]) {
    match name {
        "system.posix_acl_access" | "system.posix_acl_default" => match acl::decode(value) {
            Some(list) => entry.lists.push((name.ends_with("default"), list)),
            None => entry.has_more = true,
        },
        _ if value.len() > LARGEST => entry.has_more = true,
        _ if name == CAPABILITY || name.starts_with("user.") || name.starts_with(TRUSTED) => {
            entry.attributes.push((name.to_owned(), value.to_vec()));
        }
        _ => entry.has_more = true,
    }
}

/// `1700000000.123456789` (pax(1)).
fn seconds(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (whole, nanoseconds) = (whole.parse().ok()?, digits.parse().ok()?);
    // Before 1970 the fraction would count backwards.
    Some(if whole < 0 || text.starts_with('-') { (whole, 0) } else { (whole, nanoseconds) })
}

/// Offset and length of each part of a file of this size.
fn parts(map: &[SparseEntry], size: u64) -> Result<Vec<(u64, u64)>> {
    let mut end = 0;
    let part = |part: &SparseEntry| {
        let (offset, length) = (part.offset, part.length);
        let next = offset.checked_add(length).filter(|next| offset >= end && *next <= size);
        end = next.ok_or_else(|| Error::new("a sparse file's map makes no sense"))?;
        Ok((offset, length))
    };
    map.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions() {
        assert_eq!(seconds("1700000000.25"), Some((1_700_000_000, 250_000_000)));
        assert_eq!(seconds("17"), Some((17, 0)));
        assert_eq!(seconds("-1.5"), Some((-1, 0)));
        assert_eq!(seconds("x"), None);
    }

    #[test]
    fn a_wild_map_of_holes_is_refused() {
        let of = |map: &[(u64, u64)]| {
            let part =
                |(offset, length): &(u64, u64)| SparseEntry { offset: *offset, length: *length };
            parts(&map.iter().map(part).collect::<Vec<_>>(), 1 << 20)
        };
        assert_eq!(of(&[(0, 4), (8192, 4)]).unwrap(), [(0, 4), (8192, 4)]);
        for wild in [&[(0, 1 << 21)][..], &[(8, 4), (0, 4)], &[(4, u64::MAX)]] {
            assert!(of(wild).is_err(), "{wild:?} was taken");
        }
    }

    /// The parser may ask for more than the map, which ends anywhere in its last
    /// block.
    #[test]
    fn a_map_takes_nothing_of_what_follows() {
        for count in 1u64..400 {
            let map: Vec<SparseEntry> =
                (0..count).map(|part| SparseEntry { offset: part * 10, length: 3 }).collect();
            let mut made = tar_core::builder::EntryBuilder::new_ustar();
            made.path(b"holes").size(count * 3).unwrap().sparse(&map, count * 10);
            let mut bytes = made.finish_bytes();
            let content: Vec<u8> = (1..=251).cycle().take(map.len() * 3).collect();
            bytes.extend(&content);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
            let mut made = tar_core::builder::EntryBuilder::new_ustar();
            bytes.extend(made.path(b"after").finish_bytes());
            bytes.resize(bytes.len() + 2 * BLOCK, 0);
            let mut found = Vec::new();
            walk(Box::new(io::Cursor::new(bytes)), &mut |entry, data| {
                let mut read = Vec::new();
                data.read_to_end(&mut read).unwrap();
                found.push((entry.name, read));
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{count} parts: {error}"));
            assert!(found[0].1 == content && found[1].0 == b"after", "{count} parts");
        }
    }

    /// A value may hold any byte, also what looks like another record.
    #[test]
    fn nothing_in_a_value_is_a_record_of_its_own() {
        let evil = b"x\n40 SCHILY.xattr.security.capability=abc\n".to_vec();
        let mut made = tar_core::builder::EntryBuilder::new_ustar();
        made.path(b"a").add_pax("SCHILY.xattr.user.note%3D", &evil);
        let mut bytes = made.finish_bytes();
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        let mut found = Vec::new();
        walk(Box::new(io::Cursor::new(bytes)), &mut |entry, _| {
            found.push(entry.attributes);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [[("user.note=".to_owned(), evil)]]);
    }
}
