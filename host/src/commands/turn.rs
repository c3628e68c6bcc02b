//! Commands that work on the same guest take turns.

use shared::name::GuestName;

use crate::commands::output;
use crate::control::at_rest::{self, AtRest};
use crate::error::Result;
use crate::paths::Paths;
use crate::runtime::Lock;
use crate::tree::Check;

/// Waits until no other command works on a guest; none does while the lock is held.
///
/// # Errors
/// When the lock can't be made.
pub fn wait(paths: &Paths, name: &GuestName) -> Result<Lock> {
    wait_unless(paths, name, &|| Ok(()))
}

/// The same, for a command that doesn't end by a signal. `check` is asked while there is
/// something to wait for.
///
/// # Errors
/// As [`wait`], and what `check` says.
pub fn wait_unless(paths: &Paths, name: &GuestName, check: Check<'_>) -> Result<Lock> {
    Lock::take_turn(paths, name, check, &|text| output::remark(text))
}

/// Waits for both that and a guest that is at rest, and keeps it so.
///
/// # Errors
/// As [`wait_unless`] and [`at_rest::keep`].
pub fn at_rest(paths: &Paths, name: &GuestName, check: Check<'_>) -> Result<(AtRest, Lock)> {
    // Before it is this command's turn: the guest's last script may want one of its own.
    at_rest::check_unless(paths, name, check)?;
    let lock = wait_unless(paths, name, check)?;
    Ok((at_rest::keep_unless(paths, name, check)?, lock))
}
