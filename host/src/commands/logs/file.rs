//! Logs that are files: the newest, and one that it was rotated to.

use std::fs::File;
use std::io::{ErrorKind, Read};
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
    if print(wanted)?.is_break() {
        return Ok(Exit::DONE);
    }
    if args.follow {
        follow(file, path)?;
    }
    Ok(Exit::DONE)
}

/// `NAME.1`.
fn old(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Prints what is added to the log, until nobody reads it any more.
fn follow(mut file: Option<File>, path: &Path) -> Result<()> {
    loop {
        thread::sleep(PAUSE);
        let mut more = Vec::new();
        if let Some(file) = &mut file {
            file.read_to_end(&mut more).map_err(|error| Error::path("read", path, error))?;
        }
        // Rotated: the name belongs to a new file.
        if more.is_empty() && !is_same(file.as_ref(), path) {
            file = File::open(path).ok();
            continue;
        }
        if print(&more)?.is_break() {
            return Ok(());
        }
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
    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 1), b"c");
        assert_eq!(last_lines(b"a\n", 5), b"a\n");
        assert_eq!(last_lines(b"a\nb\n", 0), b"");
    }
}
