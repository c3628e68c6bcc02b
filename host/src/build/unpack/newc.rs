//! Reads cpio archives of the newc form (cpio(5)), which the kernel's
//! initramfs has too. By our own hand: a name is bytes, and a sum is there to be
//! compared.
//!
//! It has neither attributes nor access lists nor holes, and a file of four
//! gigabytes is its longest. All names of a file have its inode's number; its
//! bytes stand with one of them, the last for cpio(1).

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::error::{Error, Result};

use super::entry::{Content, Entry, Kind};

/// No path is longer (PATH_MAX).
const LONGEST: u32 = 4096;

/// So much is remembered of names of files that have several.
const MOST_KEPT: usize = 1 << 30;

/// The magic number, and thirteen others of eight digits each.
const HEADER: usize = 110;

/// Names and files are filled up to a multiple of this, with the header before.
const UNIT: u32 = 4;

/// What the last entry is called.
const TRAILER: &[u8] = b"TRAILER!!!";

/// Hands over every entry.
///
/// # Errors
/// When the archive is damaged or cut off, or `work` fails.
pub(super) fn walk(
    mut plain: Box<dyn Read>,
    work: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut files: BTreeMap<(u32, u32, u32), Names> = BTreeMap::new();
    let mut kept = 0;
    loop {
        let header = Header::read(&mut plain)?;
        let name = header.read_name(&mut plain)?;
        if name == TRAILER {
            break;
        }
        let mut data = Data::new(&mut plain, header.size);
        let entry = describe(&header, name, &mut data)?;
        if matches!(entry.kind, Kind::File(_) | Kind::Whiteout) && header.links > 1 {
            kept += size_of::<Entry>() + entry.name.len();
            if kept > MOST_KEPT {
                return Err(Error::new("too many files in the archive have several names"));
            }
            let names = files.entry(header.file).or_default();
            match &names.first {
                Some(first) => link(first, vec![entry], work)?,
                None if header.size == 0 => names.waiting.push(entry),
                None => {
                    let first = entry.name.clone();
                    work(entry, &mut data)?;
                    link(&first, std::mem::take(&mut names.waiting), work)?;
                    names.first = Some(first);
                }
            }
        } else {
            work(entry, &mut data)?;
        }
        let sum = data.finish().map_err(damaged)?;
        if header.sum.is_some_and(|told| told != sum) {
            return Err(Error::new("the archive is damaged: a file has another sum than it says"));
        }
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

fn damaged(cause: io::Error) -> Error {
    Error::os("the archive is damaged or cut off", cause)
}

fn nonsense() -> Error {
    Error::new("the archive is damaged: an entry makes no sense")
}

/// What stands before each entry.
struct Header {
    /// Device and inode.
    file: (u32, u32, u32),
    mode: u32,
    user: u32,
    group: u32,
    links: u32,
    modified: u32,
    size: u32,
    device: (u32, u32),
    /// With the NUL at its end.
    name_length: u32,
    /// Of all bytes of a file, in the form that has one.
    sum: Option<u32>,
}

impl Header {
    fn read(plain: &mut dyn Read) -> Result<Self> {
        let mut bytes = [0; HEADER];
        plain.read_exact(&mut bytes).map_err(damaged)?;
        let (magic, numbers) = bytes.split_at(6);
        let has_sum = match magic {
            b"070701" => false,
            b"070702" => true,
            _ => return Err(nonsense()),
        };
        let mut numbers = numbers.chunks(8).map(hexadecimal);
        let mut next = || numbers.next().flatten().ok_or_else(nonsense);
        let [inode, mode, user, group, links, modified, size] =
            [next()?, next()?, next()?, next()?, next()?, next()?, next()?];
        let [major, minor, device_major, device_minor, name_length, sum] =
            [next()?, next()?, next()?, next()?, next()?, next()?];
        Ok(Self {
            file: (major, minor, inode),
            mode,
            user,
            group,
            links,
            modified,
            size,
            device: (device_major, device_minor),
            name_length,
            sum: has_sum.then_some(sum),
        })
    }

    /// The name, which may be filled up with zeros behind its end.
    fn read_name(&self, plain: &mut dyn Read) -> Result<Vec<u8>> {
        if !(1..=LONGEST).contains(&self.name_length) {
            return Err(nonsense());
        }
        let filled = (HEADER as u32 + self.name_length).next_multiple_of(UNIT) - HEADER as u32;
        let mut name = vec![0; filled as usize];
        plain.read_exact(&mut name).map_err(damaged)?;
        name.truncate(self.name_length as usize);
        let end = name.iter().position(|byte| *byte == 0).ok_or_else(nonsense)?;
        name.truncate(end);
        Ok(name)
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    // A sign is none of them.
    let is_number = digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    u32::from_str_radix(text, 16).ok()
}

/// The bytes of an entry, which are added up.
struct Data<'a> {
    plain: io::Take<&'a mut dyn Read>,
    filling: u32,
    sum: u32,
}

impl<'a> Data<'a> {
    fn new(plain: &'a mut dyn Read, size: u32) -> Self {
        let filling = size.wrapping_neg() % UNIT;
        Self { plain: plain.take(size.into()), filling, sum: 0 }
    }

    /// Reads what is left, up to the next entry; gives the sum.
    fn finish(mut self) -> io::Result<u32> {
        io::copy(&mut self, &mut io::sink())?;
        if self.plain.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut filling = [0; UNIT as usize];
        let filling = filling.get_mut(..self.filling as usize).unwrap_or_default();
        self.plain.into_inner().read_exact(filling)?;
        Ok(self.sum)
    }
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.plain.read(buffer)?;
        let read = buffer.iter().take(length);
        self.sum = read.fold(self.sum, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        Ok(length)
    }
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

fn describe(header: &Header, name: Vec<u8>, data: &mut Data<'_>) -> Result<Entry> {
    let kind = match header.mode & 0o170_000 {
        0o100_000 => Kind::File(Content::Whole(header.size.into())),
        0o040_000 => Kind::Directory,
        0o120_000 => {
            let mut target = Vec::new();
            data.take(LONGEST.into()).read_to_end(&mut target).map_err(damaged)?;
            if target.len() != header.size as usize {
                return Err(Error::new("a link in the archive is too long or cut off"));
            }
            Kind::Symlink(target)
        }
        0o010_000 => Kind::Fifo,
        0o020_000 if header.device == (0, 0) => Kind::Whiteout,
        0o020_000 | 0o060_000 => Kind::Device,
        _ => Kind::Other,
    };
    Ok(Entry {
        name,
        kind,
        user: header.user.into(),
        group: header.group.into(),
        mode: header.mode & 0o7777,
        modified: (header.modified.into(), 0),
        attributes: Vec::new(),
        lists: Vec::new(),
        has_more: false,
    })
}
