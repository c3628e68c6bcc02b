//! Parsers of single values on the command line.

use std::time::Duration;

use shared::name::{ContextError, ContextId, GuestName};

use super::order;

/// A guest's name that is not a verb: `vserver VERB NAME` and `vserver NAME
/// VERB` must stay distinguishable.
pub(super) fn guest(text: &str) -> Result<GuestName, String> {
    let name: GuestName = text.parse().map_err(|error| format!("{error}"))?;
    if order::is_reserved(text) {
        return Err(format!("'{text}' is a verb of vserver, no guest can have this name"));
    }
    Ok(name)
}

/// A guest's fixed context number.
pub(super) fn context(text: &str) -> Result<ContextId, String> {
    let number: u32 = text.parse().map_err(|error| format!("{error}"))?;
    number.try_into().map_err(|error: ContextError| error.to_string())
}

/// By how much ids are shifted: not at all, or beyond those of a guest.
pub(super) fn shift(text: &str) -> Result<u32, String> {
    const IDS: u32 = 65_536;
    let number: u32 = text.parse().map_err(|error| format!("{error}"))?;
    if number == 0 || (IDS..u32::MAX - IDS).contains(&number) {
        return Ok(number);
    }
    Err(format!("owners are shifted by 0, or by {IDS} and more"))
}

/// Seconds ("90", "0.5"), or a duration with units ("1m 30s").
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    parsed.ok_or_else(|| "a duration is written like '90', '90s' or '1m 30s'".to_owned())
}
