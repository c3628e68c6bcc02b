//! What an archive says of the guest in it. Pure.

use serde::{Deserialize, Serialize};
use shared::name::{ContextId, GuestName};

use crate::error::{Error, Result};

/// The form of a guest that was at rest.
const FORMAT: u32 = 1;

/// That of one that ran at first, whose files come in two parts; the newest that
/// this program reads.
const IN_PARTS: u32 = 2;

/// The first member of an archive. A later version may add keys, which this
/// one leaves alone, and raises `format` for what must not be left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The archive's form.
    format: u32,
    /// The guest's name.
    pub name: GuestName,
    /// Its number, if it had one.
    pub context: Option<ContextId>,
    /// Its host name, which files inside may hold.
    pub hostname: String,
    /// Are there actions?
    pub actions: bool,
    /// The version of the program that wrote it.
    pub vserver: String,
}

#[derive(Deserialize)]
struct Form {
    format: u32,
}

impl Manifest {
    /// That of a guest of this program.
    pub fn new(
        name: GuestName,
        context: Option<ContextId>,
        hostname: String,
        actions: bool,
    ) -> Self {
        let vserver = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, name, context, hostname, actions, vserver }
    }

    /// The same for a guest whose files come in two parts.
    #[must_use]
    pub fn in_parts(self) -> Self {
        Self { format: IN_PARTS, ..self }
    }

    /// Do its files come in two parts?
    pub fn is_in_parts(&self) -> bool {
        self.format == IN_PARTS
    }

    /// Its text.
    ///
    /// # Errors
    /// None that is known: everything in it has a form in TOML.
    pub fn render(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|cause| Error::new(format!("cannot write the manifest: {cause}")))
    }

    /// Reads its text.
    ///
    /// # Errors
    /// When it is none, or of a form that only a later version knows.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |cause: toml::de::Error| {
            Error::new(format!("its manifest is damaged: {}", cause.message()))
        };
        let form: Form = toml::from_str(text).map_err(wrong)?;
        if form.format > IN_PARTS {
            return Err(Error::new(format!(
                "it has form {}, and this vserver knows forms up to {IN_PARTS}",
                form.format
            ))
            .hint("import it with the version that has written it, or a later one"));
        }
        toml::from_str(text).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn web() -> Manifest {
        let context = ContextId::try_from(7).ok();
        Manifest::new("web".parse().unwrap(), context, "web.example.org".to_owned(), true)
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        assert_eq!(Manifest::parse(&web().render().unwrap()).unwrap(), web());
        let parts = web().in_parts();
        assert!(parts.is_in_parts() && !web().is_in_parts());
        assert_eq!(Manifest::parse(&parts.render().unwrap()).unwrap(), parts);
    }

    #[test]
    fn a_later_form_is_refused_and_a_later_key_is_not() {
        let text = web().render().unwrap();
        let later = Manifest::parse(&text.replace("format = 1", "format = 3"));
        assert!(later.unwrap_err().to_string().contains("form 3"));
        assert_eq!(Manifest::parse(&(text + "colour = 'green'\n")).unwrap(), web());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = Manifest::parse(&text);
        }
    }
}
