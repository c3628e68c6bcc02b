//! `[boot.credentials]`: what a guest is handed as files that only its root
//! reads (systemd.io/CREDENTIALS).

use core::fmt;
use std::path::{Component, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The most that names and contents of all of them take together, as with
/// systemd's services (systemd.exec(5), `LoadCredential=`).
pub const MOST: usize = 1024 * 1024;

/// Where the content of a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Credential {
    /// It stands here, for everybody to read: configurations are no secrets.
    Text(String),
    /// A file of the host's, read at each boot.
    File(CredentialFile),
}

/// `{ file = "PATH" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialFile {
    /// An absolute path on the host.
    pub file: PathBuf,
}

impl<'de> Deserialize<'de> for Credential {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Credential;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or { file = \"/etc/vservers/…\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Credential, E> {
        Ok(Credential::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Credential, A::Error> {
        CredentialFile::deserialize(MapAccessDeserializer::new(map)).map(Credential::File)
    }
}

/// Is this a name that systemd takes: one of a file, and of a descriptor
/// (`credential_name_valid()`, `fdname_is_valid()`)?
pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && !matches!(byte, b'/' | b':');
    (1..=255).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(plain)
}

/// Is it one that systemd knows as a password, hashed or not
/// (systemd-sysusers(8))?
pub(super) fn is_password(name: &str) -> bool {
    ["passwd.hashed-password.", "passwd.plaintext-password."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

impl Credential {
    /// What is wrong with it, but for what only the host's files tell.
    pub(super) fn mistake(&self, name: &str) -> Option<&'static str> {
        match self {
            Self::Text(_) if is_password(name) => Some(
                "every user of the host may read a configuration, so a password is given in a \
                 file: { file = \"/etc/vservers/…\" }",
            ),
            Self::Text(_) => None,
            Self::File(CredentialFile { file }) => {
                let plain =
                    |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
                let right = file.is_absolute()
                    && file.file_name().is_some()
                    && file.components().all(plain)
                    && !file.as_os_str().as_encoded_bytes().contains(&0);
                (!right).then_some("its file is an absolute path without '..'")
            }
        }
    }

    /// Bytes of its content, as far as they stand here.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::File(_) => 0,
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{} bytes of the configuration", text.len()),
            Self::File(CredentialFile { file }) => write!(f, "'{}'", file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_systemd() {
        for name in ["a", "passwd.hashed-password.root", "a b", "...", &"x".repeat(255)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a:b", "é", "a\n", "a\u{7f}", &"x".repeat(256)] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
