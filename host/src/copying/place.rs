//! Where something is copied from or to, as it is written: `GUEST:PATH`, or a
//! path of the host's. Pure.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use shared::name::GuestName;

/// A place on the host or in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path of the host's.
    Host(PathBuf),
    /// A path of a guest's, from its root.
    Guest(GuestName, PathBuf),
}

impl Place {
    /// Reads a word: what has a colon before any slash, and doesn't begin with
    /// a dot, is a guest's.
    ///
    /// # Errors
    /// When what precedes the colon can't be a guest's name, or there is no
    /// path.
    pub fn parse(
        word: &OsStr,
        guest: impl FnOnce(&str) -> Result<GuestName, String>,
    ) -> Result<Self, String> {
        let bytes = word.as_bytes();
        if bytes.is_empty() {
            return Err("an empty word is no path".to_owned());
        }
        let end = bytes.iter().position(|byte| matches!(byte, b':' | b'/'));
        let colon = end.filter(|at| bytes.get(*at) == Some(&b':') && !bytes.starts_with(b"."));
        let Some((name, path)) = colon.and_then(|at| bytes.split_at_checked(at)) else {
            return Ok(Self::Host(word.into()));
        };
        let name = String::from_utf8_lossy(name);
        let name = guest(&name).map_err(|why| {
            format!("{why}; a path of the host's that has a colon begins with './'")
        })?;
        // Relative paths count from the guest's root, where nothing is
        // anybody's current directory.
        let path = path.get(1..).unwrap_or_default();
        let path = if path.is_empty() { b"/" } else { path };
        Ok(Self::Guest(name, OsString::from_vec(path.to_vec()).into()))
    }

    /// The guest, if it is in one.
    pub fn guest(&self) -> Option<&GuestName> {
        match self {
            Self::Host(_) => None,
            Self::Guest(name, _) => Some(name),
        }
    }

    /// The path there.
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Host(path) | Self::Guest(_, path) => path,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(path) => write!(f, "{}", path.display()),
            Self::Guest(name, path) => write!(f, "{name}:{}", path.display()),
        }
    }
}

/// How a source was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By its own name, the last one of the path; a link is a link.
    Itself,
    /// With a slash at the end: what a link leads to.
    Followed,
    /// By a dot at the end, or as a root: what is in the directory.
    Content,
}

/// What the end of a path says.
pub fn named(path: &OsStr) -> Named {
    let bytes = path.as_bytes();
    let trimmed = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let words = bytes.get(..trimmed).unwrap_or_default();
    let last = words.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match last {
        b"" | b"." | b".." => Named::Content,
        _ if trimmed < bytes.len() => Named::Followed,
        _ => Named::Itself,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(word: &str) -> Result<Place, String> {
        let guest = |name: &str| name.parse::<GuestName>().map_err(|error| error.to_string());
        Place::parse(OsStr::new(word), guest)
    }

    #[test]
    fn what_has_a_colon_first_is_a_guests() {
        let host = |path: &str| Ok(Place::Host(path.into()));
        let web = |path: &str| Ok(Place::Guest("web".parse().unwrap(), path.into()));
        for (word, place) in [
            ("a", host("a")),
            ("/a:b", host("/a:b")),
            ("./a:b", host("./a:b")),
            ("../a:b", host("../a:b")),
            ("dir/a:b", host("dir/a:b")),
            ("web:/etc", web("/etc")),
            ("web:etc", web("etc")),
            ("web:", web("/")),
            ("web:/a:b", web("/a:b")),
            ("web:a:b", web("a:b")),
        ] {
            assert_eq!(parse(word), place, "{word}");
        }
        for word in ["", ":", ":/etc", "a b:/etc", "-x:/etc"] {
            assert!(parse(word).is_err(), "{word} was taken");
        }
    }

    #[test]
    fn the_end_of_a_path_says_what_is_meant() {
        for (path, meant) in [
            ("/etc", Named::Itself),
            ("etc", Named::Itself),
            ("/etc/", Named::Followed),
            ("/etc//", Named::Followed),
            ("/etc/.", Named::Content),
            ("/etc/./", Named::Content),
            ("/etc/..", Named::Content),
            (".", Named::Content),
            ("/", Named::Content),
            ("/etc/.x", Named::Itself),
        ] {
            assert_eq!(named(OsStr::new(path)), meant, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_word_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let word = OsString::from_vec(bytes);
            let guest = |name: &str| name.parse::<GuestName>().map_err(|error| error.to_string());
            if let Ok(Place::Host(path)) = Place::parse(&word, guest) {
                prop_assert_eq!(path.into_os_string(), word.clone());
            }
            let _ = named(&word);
        }
    }
}
