//! Guests, and snapshots of guests, whose files lie over a directory.

use std::fs;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::build::Snapshots;
use crate::config::{self, Place};
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::store;

/// # Errors
/// When the files of a guest, or of a snapshot of one, lie over this directory,
/// or one below it: that is what `what` can't be done for. Also when that can't
/// be told, because a file with mistakes mentions the directory.
pub(super) fn refuse(paths: &Paths, directory: &Path, what: impl Fn() -> String) -> Result<()> {
    config::names(paths)?.iter().try_for_each(|name| refuse_for(paths, name, directory, &what))
}

/// The same without a look at a guest, which is to go itself.
///
/// # Errors
/// As [`refuse`].
pub(super) fn refuse_for_others(
    paths: &Paths,
    own: &GuestName,
    directory: &Path,
    what: impl Fn() -> String,
) -> Result<()> {
    let names = config::names(paths)?;
    let mut others = names.iter().filter(|name| *name != own);
    others.try_for_each(|name| refuse_for(paths, name, directory, &what))
}

/// # Errors
/// When another guest has the same root.
pub(super) fn refuse_shared(paths: &Paths, name: &GuestName, root: &Path) -> Result<()> {
    let mine = real(root);
    for other in config::names(paths)?.iter().filter(|other| *other != name) {
        // A file with mistakes may name any directory; it is not guessed at.
        let theirs = config::load(paths, other).map(|config| config.root(paths, other));
        if theirs.is_ok_and(|theirs| real(&theirs) == mine) {
            return Err(Error::new(format!(
                "guest '{name}' has the same root directory as guest '{other}'"
            )));
        }
    }
    Ok(())
}

/// # Errors
/// When this root is another guest's as well, or one of both lies in the other: that is
/// what `what` can't be done for.
pub(super) fn refuse_conflict(
    paths: &Paths,
    name: &GuestName,
    root: &Path,
    what: impl Fn() -> String,
) -> Result<()> {
    match config::conflict(paths, name, root)? {
        None => Ok(()),
        Some(why) => Err(Error::new(format!("{}: {why}", what()))
            .hint("give one of both another root: vserver config set NAME root DIR")),
    }
}

/// # Errors
/// When the root of another guest lies in this one.
pub(super) fn refuse_around(paths: &Paths, name: &GuestName, root: &Path) -> Result<()> {
    let mine = real(root);
    for other in config::names(paths)?.iter().filter(|other| *other != name) {
        let Ok(config) = config::load(paths, other) else { continue };
        let theirs = real(&config.root(paths, other));
        if theirs.starts_with(&mine) {
            return Err(Error::new(format!(
                "guest '{other}' has its root directory in that of guest '{name}'"
            ))
            .hint(format!("first: vserver delete {other}")));
        }
    }
    Ok(())
}

/// A path without links, as far as it is there.
pub(super) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn refuse_for(
    paths: &Paths,
    name: &GuestName,
    directory: &Path,
    what: &impl Fn() -> String,
) -> Result<()> {
    let place = match config::load(paths, name) {
        Ok(config) => config.place(paths, name),
        Err(error) if error.kind() == Kind::NoSuchGuest => return Ok(()),
        Err(error) => {
            if may_lie_over(paths, name, directory)? {
                let text = format!("{}: guest '{name}' may lie over it: {error}", what());
                return Err(Error::new(text).hint(format!("first: vserver config edit {name}")));
            }
            Place::directory(paths.root(name))
        }
    };
    if let Some(base) = place.base().filter(|base| base.starts_with(directory)) {
        let text = format!("{}: guest '{name}' lies over '{}'", what(), base.display());
        return Err(Error::new(text).hint(format!(
            "first delete '{name}', or make another guest of it without a base: \
             vserver clone {name} NEW --storage directory"
        )));
    }
    let found = Snapshots::new(name, place).over(directory);
    match found.map_err(|error| error.context(what()))? {
        None => Ok(()),
        Some((snapshot, base)) => {
            let (what, base) = (what(), base.display());
            let text =
                format!("{what}: snapshot '{snapshot}' of guest '{name}' lies over '{base}'");
            Err(Error::new(text).hint(format!("first: vserver snapshot delete {name} {snapshot}")))
        }
    }
}

/// Does a guest's configuration that has mistakes, or the defaults for all,
/// mention the directory?
fn may_lie_over(paths: &Paths, name: &GuestName, directory: &Path) -> Result<bool> {
    // A directory of that name, or a device, is no guest.
    if paths.config(name).metadata().is_ok_and(|found| !found.is_file()) {
        return Ok(false);
    }
    let defaults =
        store::open(&paths.defaults()).and_then(std::io::read_to_string).unwrap_or_default();
    let own = config::text(paths, name).or_else(|_| config::text_as_it_is(paths, name))?;
    Ok([own, defaults].iter().any(|text| config::mentions(text, directory)))
}
