//! The layers of isolation that a test can leave out.

use crate::error::{Error, Result};
use crate::variables;

/// A layer of isolation. Tests leave one out to see that what it refuses
/// works without it; nothing in a configuration can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The bounding set: the guest's root keeps every capability.
    Capabilities,
    /// The system call filter.
    SystemCalls,
    /// The device filter on the cgroup, and the LSM programs beside it.
    Devices,
    /// What is covered or read-only in /proc and /sys.
    Masks,
    /// The limit on user namespaces.
    Nesting,
    /// The bound on the number of processes.
    Processes,
    /// What holds a guest to its addresses: the filter on its link.
    Addresses,
}

impl Layer {
    const ALL: [(&'static str, Self); 7] = [
        ("capabilities", Self::Capabilities),
        ("system-calls", Self::SystemCalls),
        ("devices", Self::Devices),
        ("masks", Self::Masks),
        ("nesting", Self::Nesting),
        ("processes", Self::Processes),
        ("addresses", Self::Addresses),
    ];
}

/// Reads [`variables::WITHOUT`].
///
/// # Errors
/// When a word is no layer.
pub fn parse_without(text: &str) -> Result<Vec<Layer>> {
    let words = text.split(',').filter(|word| !word.is_empty());
    words
        .map(|word| {
            let found = Layer::ALL.iter().find(|(name, _)| *name == word);
            found.map(|(_, layer)| *layer).ok_or_else(|| {
                let all = Layer::ALL.map(|(name, _)| name).join(", ");
                Error::usage(format!("'{word}' is no layer ({}): {all}", variables::WITHOUT))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_words_separated_by_commas() {
        assert_eq!(parse_without("").unwrap(), []);
        assert_eq!(parse_without("masks,devices").unwrap(), [Layer::Masks, Layer::Devices]);
        assert!(parse_without("mask").is_err());
    }
}
