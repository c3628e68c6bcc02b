//! Reads cpio archives of the newc form (cpio(5)), which the kernel's
//! initramfs has too.
//!
//! It has neither attributes nor access lists nor holes, and a file of four
//! gigabytes is its longest. All names of a file have its inode's number; its
//! bytes stand with one of them, the last for cpio(1).

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::error::{Error, Result};

use super::entry::{Content, Entry, Kind};

/// No path is longer (PATH_MAX).
const LONGEST_LINK: u64 = 4096;

/// Hands over every entry.
///
/// # Errors
/// When the archive is damaged or cut off, or `work` fails.
pub(super) fn walk(
    mut plain: Box<dyn Read>,
    work: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let damaged = |cause| Error::os("the archive is damaged or cut off", cause);
    let mut files: BTreeMap<(u32, u32, u32), Names> = BTreeMap::new();
    loop {
        let mut reader = cpio::newc::Reader::new(plain).map_err(damaged)?;
        let header = reader.entry().clone();
        if header.is_trailer() {
            break;
        }
        let entry = describe(&header, &mut reader)?;
        if matches!(entry.kind, Kind::File(_) | Kind::Whiteout) && header.nlink() > 1 {
            let file = (header.dev_major(), header.dev_minor(), header.ino());
            let names = files.entry(file).or_default();
            match &names.first {
                Some(first) => link(first, vec![entry], work)?,
                None if header.file_size() == 0 => names.waiting.push(entry),
                None => {
                    let first = entry.name.clone();
                    work(entry, &mut reader)?;
                    link(&first, std::mem::take(&mut names.waiting), work)?;
                    names.first = Some(first);
                }
            }
        } else {
            work(entry, &mut reader)?;
        }
        plain = reader.finish().map_err(damaged)?;
    }
    // Several names of what has no bytes.
    for names in files.into_values() {
        let mut waiting = names.waiting.into_iter();
        let Some(first) = waiting.next() else { continue };
        let name = first.name.clone();
        work(first, &mut io::empty())?;
        link(&name, waiting, work)?;
    }
    Ok(())
}

/// The names of a file that has several.
#[derive(Default)]
struct Names {
    /// The one that has been made.
    first: Option<Vec<u8>>,
    /// Those that came before its bytes.
    waiting: Vec<Entry>,
}

/// The further names of a file.
fn link(
    first: &[u8],
    names: impl IntoIterator<Item = Entry>,
    work: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    for entry in names {
        work(Entry { kind: Kind::HardLink(first.to_vec()), ..entry }, &mut io::empty())?;
    }
    Ok(())
}

fn describe(header: &cpio::newc::Entry, reader: &mut impl Read) -> Result<Entry> {
    let size = u64::from(header.file_size());
    let kind = match header.mode() & 0o170_000 {
        0o100_000 => Kind::File(Content::Whole(size)),
        0o040_000 => Kind::Directory,
        0o120_000 => {
            let mut target = Vec::new();
            reader
                .take(LONGEST_LINK)
                .read_to_end(&mut target)
                .map_err(|cause| Error::os("the archive is damaged or cut off", cause))?;
            if target.len() as u64 != size {
                return Err(Error::new("a link in the archive is too long or cut off"));
            }
            Kind::Symlink(target)
        }
        0o010_000 => Kind::Fifo,
        0o020_000 if (header.rdev_major(), header.rdev_minor()) == (0, 0) => Kind::Whiteout,
        0o020_000 | 0o060_000 => Kind::Device,
        _ => Kind::Other,
    };
    Ok(Entry {
        name: header.name().as_bytes().to_vec(),
        kind,
        user: header.uid().into(),
        group: header.gid().into(),
        mode: header.mode() & 0o7777,
        modified: (header.mtime().into(), 0),
        attributes: Vec::new(),
        lists: Vec::new(),
        has_more: false,
    })
}
