//! Reads tar archives: old, ustar, GNU and pax, with access lists,
//! attributes and holes.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use tar::EntryType;

use crate::error::{Error, Result};

use super::acl;
use super::entry::{Content, Entry, Kind};
use super::metadata::CAPABILITY;

/// An archive ends with blocks of zeros of this size (tar(5)); one that
/// doesn't has been cut off.
const END: u64 = 512;

/// How pax archives mark extended attributes and the text of access lists
/// (star(1), tar(5)).
const XATTR: &str = "SCHILY.xattr.";
const LISTS: [(&str, bool); 2] = [("SCHILY.acl.access", false), ("SCHILY.acl.default", true)];

/// Parts of a sparse file that are believed in.
const MOST_PARTS: u64 = 1 << 20;

/// A tar header, or the zeros of an empty archive?
pub(super) fn is_header(head: &[u8]) -> bool {
    let Some(head) = head.get(..512) else { return false };
    if head.get(257..262) == Some(b"ustar") || head.iter().all(|byte| *byte == 0) {
        return true;
    }
    // An old one has no magic, but its checksum.
    let header = tar::Header::from_byte_slice(head);
    let others = head.iter().enumerate().filter(|(at, _)| !(148..156).contains(at));
    let sum = others.map(|(_, byte)| u32::from(*byte)).sum::<u32>() + 8 * 32;
    header.cksum().is_ok_and(|expected| expected == sum)
}

/// Hands over every entry.
///
/// # Errors
/// When the archive is damaged or cut off, or `work` fails.
pub(super) fn walk(
    plain: Box<dyn Read>,
    work: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let damaged = |cause| Error::os("the archive is damaged", cause);
    let zeros = Rc::new(Cell::new(0));
    let mut archive = tar::Archive::new(ZeroCounter { plain, zeros: Rc::clone(&zeros) });
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let Some(described) = describe(&mut entry)? else { continue };
        work(described, &mut entry)?;
    }
    if zeros.get() < END {
        return Err(Error::new("the archive is cut off"));
    }
    Ok(())
}

type Raw<'a> = tar::Entry<'a, ZeroCounter>;

/// What the headers say; `None` for those that stand for no name.
fn describe(raw: &mut Raw<'_>) -> Result<Option<Entry>> {
    let damaged = |cause: io::Error| Error::os("the archive has a damaged header", cause);
    let kind = raw.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader) {
        return Ok(None);
    }
    let header = raw.header();
    let mut entry = Entry {
        name: raw.path_bytes().into_owned(),
        kind: Kind::Other,
        user: header.uid().map_err(damaged)?,
        group: header.gid().map_err(damaged)?,
        mode: header.mode().map_err(damaged)?,
        modified: (i64::try_from(header.mtime().map_err(damaged)?).unwrap_or(0), 0),
        attributes: Vec::new(),
        lists: Vec::new(),
        has_more: false,
    };
    let mut holes = None;
    if let Some(extensions) = raw.pax_extensions().map_err(damaged)? {
        for extension in extensions {
            let Ok(extension) = extension else {
                entry.has_more = true;
                continue;
            };
            let key = extension.key().unwrap_or_default();
            extend(&mut entry, &mut holes, key, extension.value_bytes())?;
        }
    }
    let link = || raw.link_name_bytes().unwrap_or_default().into_owned();
    entry.kind = match kind {
        EntryType::Directory => Kind::Directory,
        // Old archives mark directories by the name alone.
        EntryType::Regular if entry.name.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            Kind::File(Content::Whole(raw.size()))
        }
        EntryType::Symlink => Kind::Symlink(link()),
        EntryType::Link => Kind::HardLink(link()),
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char | EntryType::Block => Kind::Device,
        _ => Kind::Other,
    };
    if let (Kind::File(_), Some(size)) = (&entry.kind, holes) {
        entry.kind = Kind::File(Content::Sparse { size, parts: parts(raw, size)? });
    }
    Ok(Some(entry))
}

/// Takes in one key of a pax header.
fn extend(entry: &mut Entry, holes: &mut Option<u64>, key: &str, value: &[u8]) -> Result<()> {
    let text = || std::str::from_utf8(value).unwrap_or_default();
    let list = LISTS.iter().find(|(name, _)| *name == key);
    match key {
        "mtime" => entry.modified = seconds(text()).unwrap_or(entry.modified),
        "GNU.sparse.major" if text() != "1" => {
            return Err(Error::new("sparse files in an old pax form are not understood")
                .hint("pack it with 'tar --sparse-version=1.0' or '--format=gnu'"));
        }
        "GNU.sparse.map" | "GNU.sparse.offset" => {
            return Err(Error::new("sparse files in an old pax form are not understood")
                .hint("pack it with 'tar --sparse-version=1.0' or '--format=gnu'"));
        }
        "GNU.sparse.name" => entry.name = value.to_vec(),
        "GNU.sparse.realsize" => {
            let size = text().parse().map_err(|_| Error::new("a sparse file has no size"))?;
            *holes = Some(size);
        }
        _ if list.is_some() => match acl::parse(text()) {
            Some(items) => {
                let default = list.is_some_and(|(_, default)| *default);
                entry.lists.push((default, items));
            }
            None => entry.has_more = true,
        },
        _ => {
            if let Some(name) = key.strip_prefix(XATTR) {
                attribute(entry, name, value);
            }
        }
    }
    Ok(())
}

/// File capabilities, access lists and the users' own attributes; others
/// belong to the kernel or to the host.
fn attribute(entry: &mut Entry, name: &str, value: &[u8]) {
    match name {
        "system.posix_acl_access" | "system.posix_acl_default" => match acl::decode(value) {
            Some(list) => entry.lists.push((name.ends_with("default"), list)),
            None => entry.has_more = true,
        },
        _ if name == CAPABILITY || name.starts_with("user.") => {
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

/// The map at the begin of a sparse file's data (GNU tar's manual, "PAX
/// Format, Version 1.0"): decimal numbers, one a line, filled up to a block.
fn parts(from: &mut impl Read, size: u64) -> Result<Vec<(u64, u64)>> {
    let wrong = || Error::new("a sparse file's map makes no sense");
    let mut read = 0u64;
    let mut number = || -> Result<u64> {
        let mut value: Option<u64> = None;
        loop {
            let mut byte = [0u8];
            from.read_exact(&mut byte)
                .map_err(|cause| Error::os("the archive is cut off", cause))?;
            read += 1;
            match (byte, value) {
                ([b'\n'], Some(value)) => return Ok(value),
                ([digit @ b'0'..=b'9'], _) => {
                    let before = value.unwrap_or(0).checked_mul(10).ok_or_else(wrong)?;
                    let digit = u64::from(digit - b'0');
                    value = Some(before.checked_add(digit).ok_or_else(wrong)?);
                }
                _ => return Err(wrong()),
            }
        }
    };
    let count = number()?;
    if count > MOST_PARTS {
        return Err(wrong());
    }
    let mut parts = Vec::new();
    let mut end = 0;
    for _ in 0..count {
        let (offset, length) = (number()?, number()?);
        let next = offset.checked_add(length).filter(|next| offset >= end && *next <= size);
        end = next.ok_or_else(wrong)?;
        parts.push((offset, length));
    }
    let padding = read.next_multiple_of(512) - read;
    io::copy(&mut from.take(padding), &mut io::sink())
        .map_err(|cause| Error::os("cannot read it", cause))?;
    Ok(parts)
}

/// Counts the zeros at the end of what was read so far.
struct ZeroCounter {
    plain: Box<dyn Read>,
    zeros: Rc<Cell<u64>>,
}

impl Read for ZeroCounter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.plain.read(buffer)?;
        let read = buffer.get(..length).unwrap_or_default();
        let zeros = read.iter().rev().take_while(|byte| **byte == 0).count();
        let before = if zeros == length { self.zeros.get() } else { 0 };
        self.zeros.set(before + zeros as u64);
        Ok(length)
    }
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
    fn a_sparse_map_is_read_and_a_wild_one_refused() {
        let of = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(512, 0);
            bytes.extend(b"data");
            let mut rest = io::Cursor::new(bytes);
            let found = parts(&mut rest, 1 << 20);
            found.map(|parts| (parts, rest.position()))
        };
        assert_eq!(of("2\n0\n4\n8192\n4\n").unwrap(), (vec![(0, 4), (8192, 4)], 512));
        for wild in ["1\n0\n2000000\n", "2\n8\n4\n0\n4\n", "99999999\n", "1\n-1\n4\n", "\n"] {
            assert!(of(wild).is_err(), "{wild:?} was taken");
        }
    }
}
