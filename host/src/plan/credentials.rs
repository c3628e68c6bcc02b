//! What the guest's root alone is handed (systemd.io/CREDENTIALS), and how it is
//! told where.

use std::collections::BTreeMap;

use shared::message::BootMode;

use crate::config::Credential;

/// Where the files are in a guest, as systemd-nspawn has them.
pub const DIRECTORY: &str = "/run/host/credentials";

/// What tells it to whatever is booted.
const VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// Those that this kind of boot has: who comes to repair a guest, or to look
/// at one that is down, isn't to need them.
pub(super) fn plan(
    mode: &BootMode,
    all: &BTreeMap<String, Credential>,
) -> Vec<(String, Credential)> {
    match mode {
        BootMode::Boot | BootMode::Command(_) => all.clone().into_iter().collect(),
        BootMode::Rescue(_) | BootMode::Idle => Vec::new(),
    }
}

/// The configured variables, and the place of the credentials if there are any.
pub(super) fn environment(
    configured: &BTreeMap<String, String>,
    credentials: &[(String, Credential)],
) -> Vec<(String, String)> {
    let mut all = configured.clone();
    if !credentials.is_empty() {
        all.insert(VARIABLE.to_owned(), DIRECTORY.to_owned());
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_told_with_credentials_only() {
        let configured = BTreeMap::from([("A".to_owned(), "b".to_owned())]);
        assert_eq!(environment(&configured, &[]), [("A".to_owned(), "b".to_owned())]);
        let one = [("x".to_owned(), Credential::Text(String::new()))];
        assert!(
            environment(&configured, &one).contains(&(VARIABLE.to_owned(), DIRECTORY.to_owned()))
        );
    }

    #[test]
    fn a_repair_needs_none() {
        let all = BTreeMap::from([("x".to_owned(), Credential::Text("y".to_owned()))]);
        for mode in [BootMode::Boot, BootMode::Command(vec!["a".to_owned()])] {
            assert_eq!(plan(&mode, &all).len(), 1);
        }
        for mode in [BootMode::Idle, BootMode::Rescue(Vec::new())] {
            assert!(plan(&mode, &all).is_empty());
        }
    }
}
