//! What is known of a snapshot of a guest. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::config::Storage;

/// What the name of a snapshot's description ends with.
pub const DESCRIPTION: &str = ".toml";

/// The name of a snapshot: up to 64 letters, digits, '-', '_' and '.', the
/// first one a letter or digit; it doesn't end in '.toml'.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SnapshotName(String);

impl SnapshotName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that tells this time.
    pub fn of_time(time: SystemTime) -> Self {
        // With colons it would be hard to type.
        Self(humantime::format_rfc3339_seconds(time).to_string().replace(':', ""))
    }
}

impl FromStr for SnapshotName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || text.len() > 64 || !text.chars().all(fits) || text.ends_with(DESCRIPTION) {
            return Err("a snapshot's name has up to 64 letters, digits, '-', '_' and '.', \
                        begins with a letter or digit, and doesn't end in '.toml'"
                .to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: SnapshotName,
    /// Are its files there? Not if its deletion was cut short.
    pub whole: bool,
    /// When and how it was made.
    #[serde(flatten)]
    pub made: Made,
}

/// When and how a snapshot was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// When (RFC 3339).
    pub created: String,
    /// Did the guest run, and stand still while it was copied?
    pub live: bool,
    /// As what its files lie there.
    #[serde(default)]
    pub storage: Storage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names() {
        for right in ["a", "2026-11-27T153500Z", "before_upgrade.1"] {
            assert_eq!(right.parse::<SnapshotName>().unwrap().to_string(), right);
        }
        for wrong in ["", ".", "..", "-a", ".hidden", "a/b", "a b", "x.toml", "ä", &"a".repeat(65)]
        {
            assert!(wrong.parse::<SnapshotName>().is_err(), "{wrong}");
        }
        let time = SystemTime::UNIX_EPOCH;
        assert_eq!(SnapshotName::of_time(time).to_string(), "1970-01-01T000000Z");
        assert!(SnapshotName::of_time(time).to_string().parse::<SnapshotName>().is_ok());
    }
}
