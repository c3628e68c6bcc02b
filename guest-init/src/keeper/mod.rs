//! The keeper: host-side parent of a guest's PID 1.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the keeper with the arguments of [`shared::keeper::KEEPER_NAME`].
pub fn main(_args: &[OsString]) -> ExitCode {
    ExitCode::FAILURE
}
