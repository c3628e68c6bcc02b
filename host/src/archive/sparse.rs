//! Where a file has data: the rest are holes, which an archive doesn't hold.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::tree::Check;

use super::MOST_PARTS;

/// Holes that are kept, by their length: all; or, in a file with too many, those
/// that are worth it. The others are written as zeros.
const KEPT: [u64; 2] = [1, 1024 * 1024];

/// Offset and length of each part of a file that has data, in order. `None` if
/// that is all of it. One that `is_moving` may be shorter than this by now.
///
/// # Errors
/// Those of lseek(2); E2BIG when there are too many; EINTR when `check` says no.
pub(super) fn parts(
    file: &File,
    length: u64,
    is_moving: bool,
    check: Check<'_>,
) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    for kept in KEPT {
        if let Some(parts) = parts_between(file, length, (is_moving, check), (kept, MOST_PARTS))? {
            return Ok((parts != [(0, length)] && length > 0).then_some(parts));
        }
    }
    Err(Errno::TOOBIG)
}

/// The parts between holes of at least this length; `None` if they are more than
/// `most`.
fn parts_between(
    file: &File,
    length: u64,
    (is_moving, check): (bool, Check<'_>),
    (kept, most): (u64, usize),
) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < length {
        // Holes that are made ahead of this make it long.
        check().map_err(|_| Errno::INTR)?;
        // A file system that knows of no holes says that all is data.
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < length => start,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(cause) => return Err(cause),
        };
        let end = match seek(file, SeekFrom::Hole(start)) {
            Err(Errno::NXIO) if is_moving => break,
            other => other?.min(length).max(start + 1),
        };
        let is_full = parts.len() == most;
        match parts.last_mut() {
            Some((first, size)) if start < *first + *size + kept => *size = end - *first,
            _ if is_full => return Ok(None),
            _ => parts.push((start, end - start)),
        }
        at = end;
    }
    Ok(Some(parts))
}

/// The map that precedes the parts (GNU tar's manual, "PAX Format, Version
/// 1.0"): decimal numbers, one a line, filled up to a block.
pub(super) fn map(parts: &[(u64, u64)], length: u64) -> Vec<u8> {
    // A hole at the end is only seen by a part without length there.
    let is_open = parts.last().is_none_or(|(start, size)| start + size < length);
    let end = is_open.then_some((length, 0));
    let mut text = format!("{}\n", parts.len() + usize::from(is_open));
    for (start, size) in parts.iter().copied().chain(end) {
        text += &format!("{start}\n{size}\n");
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Reads these parts of a file, one after the other.
pub(super) struct Parts<'a> {
    file: &'a File,
    rest: std::vec::IntoIter<(u64, u64)>,
    now: (u64, u64),
    is_moving: bool,
    check: Check<'a>,
}

impl<'a> Parts<'a> {
    /// What one that `is_moving` has no more, are zeros.
    pub(super) fn new(
        file: &'a File,
        parts: Vec<(u64, u64)>,
        is_moving: bool,
        check: Check<'a>,
    ) -> Self {
        Self { file, rest: parts.into_iter(), now: (0, 0), is_moving, check }
    }
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.check)().map_err(|error| io::Error::other(error.to_string()))?;
        while self.now.1 == 0 {
            match self.rest.next() {
                Some(part) => self.now = part,
                None => return Ok(0),
            }
        }
        let (at, left) = self.now;
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let mut length = self.file.read_at(buffer, at)?;
        if length == 0 && self.is_moving {
            buffer.fill(0);
            length = most;
        }
        if length == 0 && most > 0 {
            return Err(io::Error::other("it has become shorter meanwhile"));
        }
        self.now = (at + length as u64, left - length as u64);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result as Done;

    fn go_on() -> Done<()> {
        Ok(())
    }

    #[test]
    fn holes_are_found_and_data_is_read() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(parts(&file, 0, false, &go_on).unwrap(), None);
        file.write_all_at(b"whole", 0).unwrap();
        assert_eq!(parts(&file, 5, false, &go_on).unwrap(), None);
        file.write_all_at(b"end", 1 << 20).unwrap();
        file.set_len(1 << 21).unwrap();
        // A file system that knows of no holes is none to test this on.
        let Some(found) = parts(&file, 1 << 21, false, &go_on).unwrap() else { return };
        assert_eq!((found.len(), found[0].0, found[1].0), (2, 0, 1 << 20));
        let mut bytes = Vec::new();
        Parts::new(&file, found.clone(), false, &go_on).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, found.iter().map(|(_, size)| size).sum::<u64>());
        assert!(bytes.starts_with(b"whole"));
        assert!(map(&found, 1 << 21).starts_with(b"3\n0\n4096\n1048576\n4096\n2097152\n0\n"));
        file.set_len(1 << 20).unwrap();
        let mut rest = Parts::new(&file, found.clone(), false, &go_on);
        assert!(rest.read_to_end(&mut Vec::new()).is_err());
        let mut shortened = Vec::new();
        Parts::new(&file, found, true, &go_on).read_to_end(&mut shortened).unwrap();
        assert_eq!(shortened.len(), bytes.len());
        assert!(shortened.starts_with(b"whole") && shortened.ends_with(&[0; 4096]));
    }

    #[test]
    fn short_holes_are_given_up_where_there_are_too_many() {
        let file = tempfile::tempfile().unwrap();
        for part in 0..10 {
            file.write_all_at(&[7], part * 65536).unwrap();
        }
        file.set_len(1 << 21).unwrap();
        let found =
            |kept, most| parts_between(&file, 1 << 21, (false, &go_on), (kept, most)).unwrap();
        let Some(all) = found(1, 10) else { panic!("there are ten") };
        // A file system that knows of no holes is none to test this on.
        if all.len() < 10 {
            return;
        }
        assert_eq!(found(1, 9), None);
        assert_eq!(found(1 << 20, 9), Some(vec![(0, 9 * 65536 + 4096)]));
    }

    #[test]
    fn the_map_fills_blocks() {
        assert_eq!(map(&[], 9).len(), 512);
        assert_eq!(&map(&[(0, 4), (8, 1)], 9)[..12], b"2\n0\n4\n8\n1\n\0\0");
        assert_eq!(map(&vec![(100, 100); 200], 200).len() % 512, 0);
    }
}
