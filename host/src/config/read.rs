//! Texts of configuration files, as they lie on the disk.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use shared::name::GuestName;

use super::problem::Problem;
use super::{load, parse};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::store;

/// The text of a file; `None` when there is none.
///
/// # Errors
/// When it can't be read, or isn't UTF-8.
pub(super) fn read(path: &Path) -> Result<Option<String>> {
    match bytes(path) {
        Ok(bytes) => utf8(path, bytes).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::path("read", path, error)),
    }
}

/// What a file holds, as text.
///
/// # Errors
/// When it isn't UTF-8: where.
pub fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let text = String::from_utf8_lossy(bytes);
        let byte = bytes.get(at).copied().unwrap_or_default();
        let end = at + char::REPLACEMENT_CHARACTER.len_utf8();
        let problem = Problem::new("", format!("the byte 0x{byte:02x} is no UTF-8"))
            .hint(Some("save the file in UTF-8".to_owned()))
            .at(Some(at..end));
        Error::new(problem.show(&path.display().to_string(), &text))
    })
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a guest's own file, also of one that isn't UTF-8.
///
/// # Errors
/// When it can't be read.
pub fn text_as_it_is(paths: &Paths, name: &GuestName) -> Result<String> {
    let path = paths.config(name);
    let bytes = bytes(&path).map_err(|error| Error::path("read", &path, error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Is the guest started with the host, whatever else is wrong with its configuration?
pub fn is_autostarted(paths: &Paths, name: &GuestName) -> bool {
    let text = load::text(paths, name).or_else(|_| text_as_it_is(paths, name));
    text.is_ok_and(|text| parse::autostart_in(&text))
}

/// The marks of a guest, or the site's, whatever else is wrong with the files.
///
/// # Errors
/// When the guest's own can't be read.
pub fn marks_as_they_are(paths: &Paths, name: &GuestName) -> Result<Vec<String>> {
    let own = parse::marks_in(&text_as_it_is(paths, name)?);
    let sites = || parse::marks_in(&String::from_utf8_lossy(&bytes(&paths.defaults()).ok()?));
    Ok(own.or_else(sites).unwrap_or_default())
}

/// The context numbers that configuration files name, also wrong ones. A file that can't
/// be read holds no other guest up: what the guest was given is remembered elsewhere.
///
/// # Errors
/// When the directory can't be read.
pub fn contexts(paths: &Paths) -> Result<Vec<(GuestName, u32)>> {
    let of = |name: GuestName| {
        let number = parse::context_in(&text_as_it_is(paths, &name).ok()?)?;
        Some((name, number))
    };
    Ok(load::names(paths)?.into_iter().filter_map(of).collect())
}

/// What in a guest's configuration may be meant otherwise.
pub fn doubts(paths: &Paths, name: &GuestName) -> Vec<String> {
    let after = load(paths, name).map(|config| config.after).unwrap_or_default();
    let is_there = |other: &GuestName| paths.config(other).symlink_metadata().is_ok();
    let unknown = after.iter().filter(|other| !is_there(other));
    let doubt = |other| format!("guest '{name}' is 'after' '{other}', and there is no such guest");
    unknown.map(doubt).collect()
}

/// Files that look like a guest's configuration, and aren't: their name is none.
///
/// # Errors
/// When the directory can't be read.
pub fn misnamed(paths: &Paths) -> Result<Vec<String>> {
    let directory = paths.config_dir();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| Error::path("read", &directory, error))?,
    };
    let files = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<_> = files.filter(|file| is_misnamed(file)).collect();
    found.sort();
    Ok(found)
}

/// Hidden files, backups and the defaults are others' business.
fn is_misnamed(file: &str) -> bool {
    let is_others = file.starts_with(['.', '#']) || file == "defaults.toml";
    file.ends_with(".toml") && !is_others && load::guest_of_file(file).is_none()
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::host;
    use super::*;

    fn guest(name: &str) -> GuestName {
        name.parse().unwrap()
    }

    #[test]
    fn a_file_that_cant_be_read_holds_nobody_up() {
        let latin: &[u8] = b"context = 8\nautostart = true\ndescription = \"M\xfcller\"\n";
        let (_directory, paths) = host(&[("a.toml", latin), ("b.toml", &b"context = 7"[..])]);
        fs::create_dir(paths.config(&guest("c"))).unwrap();
        let all = contexts(&paths).unwrap();
        assert_eq!(all, [(guest("a"), 8), (guest("b"), 7)]);
        assert!(is_autostarted(&paths, &guest("a")));
        load::judge_text(&paths, &guest("b"), "context = 7\n").unwrap();
    }

    #[test]
    fn marks_are_found_in_a_broken_file() {
        let files: [(&str, &[u8]); 4] = [
            ("a.toml", b"context = 1\nmarks = [\"db\"]\nx = \"\xfc\"\n[boot\n"),
            ("b.toml", b"context = \n"),
            ("c.toml", b"marks = \"db\"\n"),
            ("defaults.toml", b"marks = [\"all\"]\ncontext = 3\n"),
        ];
        let (_directory, paths) = host(&files);
        let marks = |name| marks_as_they_are(&paths, &guest(name)).unwrap();
        assert_eq!(marks("a"), ["db"]);
        assert_eq!(marks("b"), ["all"]);
        assert_eq!(marks("c"), ["db"]);
        assert!(marks_as_they_are(&paths, &guest("d")).is_err());
    }

    #[test]
    fn where_a_file_isnt_utf8_is_said() {
        let (_directory, paths) = host(&[("a.toml", b"context = 8\nhostname = \"M\xfcller\"\n")]);
        let error = load(&paths, &guest("a")).unwrap_err().to_string();
        let wanted = "a.toml:2:14: the byte 0xfc is no UTF-8\n  2 | hostname = \"M\u{fffd}ller\"\n    \
                      |              ^ save the file in UTF-8";
        assert!(error.ends_with(wanted), "{error}");
    }

    #[test]
    fn files_that_are_meant_for_guests_have_guests_names() {
        let files = ["web.toml", "bad name.toml", ".web.toml", "defaults.toml", "web.toml~"];
        let (_directory, paths) = host(&files.map(|file| (file, &b""[..])));
        assert_eq!(misnamed(&paths).unwrap(), ["bad name.toml"]);
    }
}
