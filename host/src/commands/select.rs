//! Which guests a command is for, and in what order.

use shared::name::GuestName;

use crate::cli::Guests;
use crate::commands::output;
use crate::config::{self, GuestConfig, Order};
use crate::control;
use crate::error::Result;
use crate::paths::Paths;
use crate::systemd;

/// The named guests as they were given (whether they exist is the command's
/// to find out), or all that were chosen by `--all`, `--enabled` or `--mark`.
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
    if wanted.enabled {
        return enabled(paths);
    }
    marked(&wanted.mark, paths)
}

/// [`guests`] for what is started: one whose configuration can't be read is among those
/// with a mark, as it is among those that are enabled.
///
/// # Errors
/// As [`guests`].
pub fn guests_to_start(wanted: &Guests, paths: &Paths) -> Result<Vec<GuestName>> {
    if wanted.mark.is_empty() {
        return guests(wanted, paths);
    }
    let mut chosen = config::names(paths)?;
    warn_of_unknown(&wanted.mark, &chosen, paths);
    chosen.retain(|name| {
        config::load(paths, name).map_or(true, |config| has_one_of(&config, &wanted.mark))
    });
    Ok(chosen)
}

/// Tells of marks that no guest has: one that is misspelt would choose nobody in silence.
fn warn_of_unknown(marks: &[String], names: &[GuestName], paths: &Paths) {
    let of = |name| config::marks_as_they_are(paths, name).unwrap_or_default();
    let known: Vec<String> = names.iter().flat_map(of).collect();
    for mark in marks {
        if !known.contains(mark) {
            output::warn(format_args!("no guest has the mark '{mark}'"));
        }
    }
}

fn has_one_of(config: &GuestConfig, marks: &[String]) -> bool {
    config.marks.iter().any(|mark| marks.contains(mark))
}

/// [`guests`] for what is done with guests that run: all of these are also those whose
/// configuration is gone.
///
/// # Errors
/// As [`guests`].
pub fn guests_that_run_too(wanted: &Guests, paths: &Paths) -> Result<Vec<GuestName>> {
    match wanted.all {
        true => all(&[], paths),
        false => guests(wanted, paths),
    }
}

/// All guests with one of these marks; when there is none all guests, those as well that
/// run and have no configuration any more.
///
/// # Errors
/// As [`guests`].
pub fn all(marks: &[String], paths: &Paths) -> Result<Vec<GuestName>> {
    let mut chosen = marked(marks, paths)?;
    if marks.is_empty() {
        let is_new = |name: &GuestName| chosen.binary_search(name).is_err();
        let others: Vec<_> = control::running(paths)?.into_iter().filter(is_new).collect();
        chosen.extend(others);
        chosen.sort();
    }
    Ok(chosen)
}

/// All guests that are started with the host: by their configuration, or by
/// systemd's links. One whose configuration can't be read is among them: what
/// is done with it says why, and the others aren't kept back.
fn enabled(paths: &Paths) -> Result<Vec<GuestName>> {
    let mut chosen = config::names(paths)?;
    chosen.retain(|name| {
        config::load(paths, name).map_or(true, |config| is_enabled(paths, name, &config))
    });
    Ok(chosen)
}

/// Is a guest started with the host?
pub fn is_enabled(paths: &Paths, name: &GuestName, config: &GuestConfig) -> bool {
    config.autostart || systemd::starts_guests(paths) && systemd::is_enabled(name)
}

/// All guests with one of these marks; all that have a configuration when there is none.
/// Whatever else is wrong with a configuration, its marks are known.
fn marked(marks: &[String], paths: &Paths) -> Result<Vec<GuestName>> {
    let mut chosen = config::names(paths)?;
    if !marks.is_empty() {
        warn_of_unknown(marks, &chosen, paths);
        chosen.retain(|name| match config::load(paths, name) {
            Ok(config) => has_one_of(&config, marks),
            Err(error) => config::marks_as_they_are(paths, name).map_or_else(
                |_| {
                    output::warn(format_args!("guest '{name}' is left out: {error}"));
                    false
                },
                |theirs| theirs.iter().any(|mark| marks.contains(mark)),
            ),
        });
    }
    Ok(chosen)
}

/// The guests in groups: those of a group have to wait for those of the groups
/// before it (`after`), and for nobody else. One whose configuration can't be
/// read waits for nobody: what is done with it says why.
pub fn in_order(names: &[GuestName], paths: &Paths) -> Vec<Vec<GuestName>> {
    let after = |name: &GuestName| config::load(paths, name).map(|it| it.after).unwrap_or_default();
    Order::new(names.iter().map(|name| (name.clone(), after(name)))).groups()
}
