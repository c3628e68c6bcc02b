//! What is to be installed by a tool of the host's, and from where.
//!
//! The words go onto the tool's command line: none of them may be understood
//! as an option, and none is looked up here. No URL of any distribution stands
//! in this program, because they go stale.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// A distribution to be installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The release; the host's own when not given.
    pub suite: Option<String>,
    /// Where packages come from; the host's sources when not given.
    pub mirror: Option<String>,
    /// Sections of the archive; those of the host's sources, or what the tool
    /// thinks right, when empty.
    pub components: Vec<String>,
    /// debootstrap's name for a choice of packages.
    pub variant: Option<String>,
    /// Keys that it must be signed with; the host's when not given.
    pub keyring: Option<PathBuf>,
    /// Packages besides the usual ones.
    pub include: Vec<String>,
    /// Packages that are here, for a tool that looks nowhere else.
    pub files: Vec<PathBuf>,
    /// Handed to the tool as they are.
    pub options: Vec<OsString>,
}

impl Distribution {
    /// # Errors
    /// When a word would be understood as something else, or the keys aren't
    /// there.
    pub(super) fn check(&self) -> Result<()> {
        let of = |what, word: &Option<String>| {
            word.as_ref().map_or(Ok(()), |word| check_word(what, word))
        };
        of("suite", &self.suite)?;
        of("mirror", &self.mirror)?;
        of("variant", &self.variant)?;
        self.components.iter().try_for_each(|word| check_word("component", word))?;
        match &self.keyring {
            Some(keyring) if !keyring.exists() => {
                Err(Error::usage(format!("there is no keyring '{}'", keyring.display())))
            }
            _ => Ok(()),
        }
    }
}

/// Neither an option nor several arguments.
pub(super) fn check_word(what: &str, text: &str) -> Result<()> {
    let is_word = !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_whitespace);
    if is_word { Ok(()) } else { Err(Error::usage(format!("'{text}' is not a {what}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_becomes_an_option() {
        for (word, is_right) in [("trixie", true), ("--setup-hook=x", false), ("a b", false)] {
            assert_eq!(check_word("suite", word).is_ok(), is_right, "{word}");
            let components = vec!["main".to_owned(), word.to_owned()];
            let wanted = Distribution { components, ..Distribution::default() };
            assert_eq!(wanted.check().is_ok(), is_right, "{word}");
        }
        let keyring = Some("/no/such/keyring".into());
        assert!(Distribution { keyring, ..Distribution::default() }.check().is_err());
    }
}
