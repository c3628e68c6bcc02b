//! `vserver logs`: what a guest wrote to its console.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::cli::LogsArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;

/// Prints the log and its rotated predecessor, and with `--follow` what comes
/// from now on. On a terminal, what could act on it is made visible.
pub(super) fn run(args: &LogsArgs, paths: &Paths) -> Result<Exit> {
    // Its console has said what it said, whatever has become of the guest's
    // configuration.
    if let Err(error) = config::load(paths, &args.name)
        && error.kind() == Kind::NoSuchGuest
    {
        return Err(error);
    }
    let path = paths.log(&args.name);
    let old = path.with_extension("log.1");
    let mut text = read(&old)?.unwrap_or_default();
    let mut file = match File::open(&path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Error::path("open", &path, error)),
    };
    if let Some(file) = &mut file {
        file.read_to_end(&mut text).map_err(|error| Error::path("read", &path, error))?;
    }
    let wanted = args.lines.map_or(text.as_slice(), |lines| last_lines(&text, lines));
    if output::stream(&harmless(wanted))?.is_break() {
        return Ok(Exit::DONE);
    }
    if args.follow {
        follow(file, &path)?;
    }
    Ok(Exit::DONE)
}

/// Prints what is added to the log, until nobody reads it any more.
fn follow(mut file: Option<File>, path: &Path) -> Result<()> {
    loop {
        thread::sleep(Duration::from_millis(200));
        let mut more = Vec::new();
        if let Some(file) = &mut file {
            file.read_to_end(&mut more).map_err(|error| Error::path("read", path, error))?;
        }
        // Rotated: the name belongs to a new file.
        if more.is_empty() && !is_same(file.as_ref(), path) {
            file = File::open(path).ok();
            continue;
        }
        if output::stream(&harmless(&more))?.is_break() {
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

/// A console's output as plain lines: carriage returns taken off, escape
/// sequences made visible, since they are the guest's and not the terminal's.
fn harmless(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\r' => {}
                // Also U+0080 to U+009F, which terminals obey as they obey ESC.
                c if c.is_control() && c != '\n' && c != '\t' => {
                    plain.extend(format!("\\x{:02x}", u32::from(c)).bytes());
                }
                c => plain.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        for byte in chunk.invalid() {
            plain.extend(format!("\\x{byte:02x}").bytes());
        }
    }
    plain
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

    #[test]
    fn escapes_of_a_guest_are_shown() {
        assert_eq!(harmless(b"ok\x1b[2J\r\n"), b"ok\\x1b[2J\n");
        assert_eq!(harmless("\u{e4}\u{9b}2J".as_bytes()), "\u{e4}\\x9b2J".as_bytes());
        assert_eq!(harmless(b"\x9b2J"), b"\\x9b2J");
    }
}
