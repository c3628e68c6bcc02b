//! Which guests a command is for.

use shared::name::GuestName;

use crate::cli::Guests;
use crate::config;
use crate::error::Result;
use crate::paths::Paths;

/// The named guests as they were given (whether they exist is the command's
/// to find out), or all that were chosen by `--all` or `--mark`.
///
/// # Errors
/// When configurations can't be read.
pub fn guests(wanted: &Guests, paths: &Paths) -> Result<Vec<GuestName>> {
    if !wanted.names.is_empty() {
        let mut names = Vec::with_capacity(wanted.names.len());
        for name in &wanted.names {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        return Ok(names);
    }
    marked(&wanted.mark, paths)
}

/// All guests with one of these marks; all guests when there is none.
///
/// # Errors
/// As [`guests`].
pub fn marked(marks: &[String], paths: &Paths) -> Result<Vec<GuestName>> {
    let mut chosen = config::names(paths)?;
    if !marks.is_empty() {
        let mut failure = None;
        chosen.retain(|name| match config::load(paths, name) {
            Ok(config) => config.marks.iter().any(|mark| marks.contains(mark)),
            Err(error) => {
                failure.get_or_insert(error);
                false
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
    }
    Ok(chosen)
}
