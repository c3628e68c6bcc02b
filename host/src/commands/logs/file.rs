//! Logs that are files: the newest, and one that it was rotated to.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::cli::LogsArgs;
use crate::commands::Exit;
use crate::error::{Error, Result};
use crate::journal::File as Place;

use super::print;

/// Between two looks at a log that is followed.
const PAUSE: Duration = Duration::from_millis(200);

/// Prints a log; with `part`, from one place to another.
pub(super) fn show(
    path: &Path,
    part: Option<(Option<Place>, Option<Place>)>,
    args: &LogsArgs,
) -> Result<Exit> {
    let old = old(path);
    let mut text = read(&old)?.unwrap_or_default();
    let mut file = match File::open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Error::path("open", path, error)),
    };
    if let Some(file) = &mut file {
        file.read_to_end(&mut text).map_err(|error| Error::path("read", path, error))?;
    }
    let logs = [old, path.to_owned()];
    let at = |place: Option<Place>| place.and_then(|place| place.place_in(&logs));
    let (from, to) = part.map_or((0, None), |(from, to)| (at(from).unwrap_or(0), at(to)));
    let to = to.unwrap_or(text.len()).min(text.len());
    let text = text.get(from.min(to)..to).unwrap_or_default();
    let wanted = args.lines.map_or(text, |lines| last_lines(text, lines));
    if !args.follow {
        return print(wanted).map(|_| Exit::DONE);
    }
    let mut pieces = Pieces::default();
    if print(&pieces.take(wanted.to_vec()))?.is_continue() {
        follow(file, path, pieces)?;
    }
    Ok(Exit::DONE)
}

/// `NAME.1`.
fn old(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Prints what is added to the log, until nobody reads it any more.
fn follow(mut file: Option<File>, path: &Path, mut pieces: Pieces) -> Result<()> {
    loop {
        thread::sleep(PAUSE);
        let more = added(&mut file, path)?;
        if print(&pieces.take(more))?.is_break() {
            return Ok(());
        }
    }
}

/// What was added to the log since it was read last, also if it was rotated meanwhile.
fn added(file: &mut Option<File>, path: &Path) -> Result<Vec<u8>> {
    // Asked first: once the name is another file's, nothing is added to this one, and its
    // end is read below.
    let is_rotated = !is_same(file.as_ref(), path);
    let mut more = Vec::new();
    let fail = |error| Error::path("read", path, error);
    if let Some(file) = &mut *file {
        file.read_to_end(&mut more).map_err(fail)?;
    }
    if is_rotated {
        *file = File::open(path).ok();
        if let Some(file) = file {
            file.read_to_end(&mut more).map_err(fail)?;
        }
    }
    Ok(more)
}

/// Text that comes in pieces, which may end within a character.
#[derive(Debug, Default)]
struct Pieces {
    /// The beginning of one.
    rest: Vec<u8>,
}

impl Pieces {
    /// What there is with this piece, up to the last whole character.
    fn take(&mut self, more: Vec<u8>) -> Vec<u8> {
        self.rest.extend(more);
        let last = self.rest.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
        let is_begun = str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
        let whole = if is_begun { self.rest.len() - last.len() } else { self.rest.len() };
        let rest = self.rest.split_off(whole);
        mem::replace(&mut self.rest, rest)
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::path("read", path, error)),
    }
}

fn is_same(file: Option<&File>, path: &Path) -> bool {
    let number = |meta: std::fs::Metadata| meta.ino();
    let open = file.and_then(|file| file.metadata().ok()).map(number);
    let named = std::fs::metadata(path).ok().map(number);
    open == named || named.is_none()
}

/// The last `count` lines of a text.
fn last_lines(text: &[u8], count: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut start = body.len();
    for _ in 0..count {
        match body.get(..start).and_then(|head| head.iter().rposition(|byte| *byte == b'\n')) {
            Some(newline) => start = newline,
            None => return text,
        }
    }
    if count == 0 { &[] } else { text.get(start + 1..).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn nothing_is_lost_at_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.log");
        let mut file = None;
        let mut read = || String::from_utf8(added(&mut file, &path).unwrap()).unwrap();
        assert_eq!(read(), "");
        let mut log = File::create(&path).unwrap();
        log.write_all(b"one\n").unwrap();
        assert_eq!(read(), "one\n");
        assert_eq!(read(), "");
        log.write_all(b"two\n").unwrap();
        std::fs::rename(&path, old(&path)).unwrap();
        assert_eq!(read(), "two\n", "there is no other yet");
        log.write_all(b"three\n").unwrap();
        std::fs::write(&path, "four\n").unwrap();
        assert_eq!(read(), "three\nfour\n");
        assert_eq!(read(), "");
    }

    #[test]
    fn characters_are_whole() {
        let text = "a\u{e4}\u{20ac}\u{1f600}b".as_bytes();
        for cut in 0..=text.len() {
            let (begin, end) = text.split_at(cut);
            let mut pieces = Pieces::default();
            let first = pieces.take(begin.to_vec());
            assert!(str::from_utf8(&first).is_ok(), "cut at {cut}");
            assert_eq!([first, pieces.take(end.to_vec())].concat(), text);
        }
        // What is no character is nobody's beginning, nor waited for.
        let mut pieces = Pieces::default();
        assert_eq!(pieces.take(b"a\x9b".to_vec()), b"a\x9b");
        assert_eq!(pieces.take(b"\xe2".to_vec()), b"");
        assert_eq!(pieces.take(b"x".to_vec()), b"\xe2x");
    }

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 1), b"c");
        assert_eq!(last_lines(b"a\n", 5), b"a\n");
        assert_eq!(last_lines(b"a\nb\n", 0), b"");
    }
}
