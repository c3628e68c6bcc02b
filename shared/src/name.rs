//! The only validators of guest names and context numbers.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest guest name in bytes. It is also used as host name (64 bytes,
/// `hostname(7)`) and inside socket paths (108 bytes, `unix(7)`).
pub const MAX_NAME: usize = 48;

/// The name of a guest: letters, digits, `-`, `_` and `.`, starting with a
/// letter or a digit, at most [`MAX_NAME`] bytes. It is safe as a file name,
/// as a cgroup name and inside a systemd unit name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct GuestName(String);

/// Why a text is not a guest name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty.
    Empty,
    /// The text is longer than [`MAX_NAME`] bytes.
    TooLong,
    /// The first character is neither a letter nor a digit.
    BadStart(char),
    /// A character that names can't hold.
    BadCharacter(char),
    /// It ends as names of files do that belong to a guest.
    BadEnd,
}

/// What a guest's name doesn't end with: its console's log would be the log of another
/// guest's supervisor.
const BAD_END: &str = ".supervisor";

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a guest's name can't be empty"),
            Self::TooLong => write!(f, "a guest's name has at most {MAX_NAME} characters"),
            Self::BadStart(c) => {
                write!(f, "a guest's name starts with a letter or a digit, not {c:?}")
            }
            Self::BadCharacter(c) => {
                write!(f, "a guest's name holds letters, digits, '-', '_' and '.', not {c:?}")
            }
            Self::BadEnd => write!(f, "a guest's name doesn't end with {BAD_END:?}"),
        }
    }
}

impl core::error::Error for NameError {}

impl GuestName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GuestName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::BadStart(first));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
            return Err(NameError::BadCharacter(bad));
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        if text.ends_with(BAD_END) {
            return Err(NameError::BadEnd);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for GuestName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl<'de> Deserialize<'de> for GuestName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A guest's context number (xid): 2 to 49151 for guests with a fixed one.
/// 0 is the host, 1 the spectator, 49152 to 65535 are given out at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ContextId(u32);

impl ContextId {
    /// The smallest number a guest can have.
    pub const MIN: u32 = 2;
    /// The largest number a guest can be configured with.
    pub const MAX_STATIC: u32 = 49_151;
    /// New guests count from here, as in util-vserver's `context.next`.
    pub const FIRST_NEW: u32 = 40_000;

    /// The number itself.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for ContextId {
    type Error = ContextError;

    fn try_from(number: u32) -> Result<Self, ContextError> {
        if (Self::MIN..=Self::MAX_STATIC).contains(&number) {
            Ok(Self(number))
        } else {
            Err(ContextError(number))
        }
    }
}

impl From<ContextId> for u32 {
    fn from(context: ContextId) -> u32 {
        context.0
    }
}

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A number that no guest can have as its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextError(pub u32);

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a context is a number from {} to {}, not {}",
            ContextId::MIN,
            ContextId::MAX_STATIC,
            self.0
        )
    }
}

impl core::error::Error for ContextError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_file_names() {
        for good in ["web", "web1", "a.b-c_d", "0"] {
            assert_eq!(good.parse::<GuestName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "-x", "a/b", "a b", "ä", "a\0", &"x".repeat(MAX_NAME + 1)] {
            assert!(bad.parse::<GuestName>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn no_guest_is_named_like_another_ones_files() {
        assert_eq!("web.supervisor".parse::<GuestName>(), Err(NameError::BadEnd));
        assert!("supervisor".parse::<GuestName>().is_ok());
    }

    #[test]
    fn contexts_of_guests_are_static_ones() {
        assert!(ContextId::try_from(1).is_err());
        assert!(ContextId::try_from(2).is_ok());
        assert!(ContextId::try_from(49_151).is_ok());
        assert!(ContextId::try_from(49_152).is_err());
    }
}
