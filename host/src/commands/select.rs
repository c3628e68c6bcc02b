//! Which guests a command is for, and in what order.

use std::collections::BTreeSet;

use shared::name::GuestName;

use crate::cli::Guests;
use crate::config;
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

/// All guests that are started with the host: by their configuration, or by
/// systemd's links. One whose configuration can't be read is among them: what
/// is done with it says why, and the others aren't kept back.
fn enabled(paths: &Paths) -> Result<Vec<GuestName>> {
    let by_systemd = systemd::starts_guests(paths);
    let mut chosen = config::names(paths)?;
    chosen.retain(|name| {
        config::load(paths, name).map_or(true, |config| config.autostart)
            || (by_systemd && systemd::is_enabled(name))
    });
    Ok(chosen)
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

/// The guests in groups: those of a group have to wait for those of the groups
/// before it (`after`), and for nobody else. One whose configuration can't be
/// read waits for nobody: what is done with it says why.
pub fn in_order(names: &[GuestName], paths: &Paths) -> Vec<Vec<GuestName>> {
    let after = |name: &GuestName| config::load(paths, name).map(|it| it.after).unwrap_or_default();
    ordered(names.iter().map(|name| (name.clone(), after(name))).collect())
}

/// Guests that wait for each other in a circle don't wait.
fn ordered(mut waiting: Vec<(GuestName, Vec<GuestName>)>) -> Vec<Vec<GuestName>> {
    let mut groups = Vec::new();
    while !waiting.is_empty() {
        let names: BTreeSet<_> = waiting.iter().map(|(name, _)| name.clone()).collect();
        let waits = |(name, after): &(GuestName, Vec<GuestName>)| {
            after.iter().any(|other| other != name && names.contains(other))
        };
        let (mut later, mut now): (Vec<_>, Vec<_>) = waiting.into_iter().partition(waits);
        if now.is_empty() {
            std::mem::swap(&mut later, &mut now);
        }
        groups.push(now.into_iter().map(|(name, _)| name).collect());
        waiting = later;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(guests: &[(&str, &[&str])]) -> Vec<Vec<String>> {
        let name = |name: &&str| name.parse::<GuestName>().unwrap();
        let guests =
            guests.iter().map(|(own, after)| (name(own), after.iter().map(name).collect()));
        let shown = |group: Vec<GuestName>| group.iter().map(GuestName::to_string).collect();
        ordered(guests.collect()).into_iter().map(shown).collect()
    }

    #[test]
    fn who_waits_comes_later() {
        let chain = groups(&[("web", &["db", "mail"]), ("db", &[]), ("mail", &["db"])]);
        assert_eq!(chain, [["db"], ["mail"], ["web"]]);
        assert_eq!(groups(&[("a", &["gone"]), ("b", &[])]), [["a", "b"]]);
        assert!(groups(&[]).is_empty());
    }

    #[test]
    fn a_circle_is_no_trap() {
        let circle = groups(&[("a", &["b"]), ("b", &["a"]), ("c", &[]), ("d", &["d"])]);
        assert_eq!(circle, [["c", "d"], ["a", "b"]]);
    }
}
