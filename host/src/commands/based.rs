//! Guests, and snapshots of guests, whose files lie over a directory.

use std::path::Path;

use shared::name::GuestName;

use crate::build::Snapshots;
use crate::config::{self, Conflict, Neighbours, Place};
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
/// When nothing can be done with the files of a guest, since another one's are there, in
/// its root or around it, wherever links lead: that is what `what` can't be done for.
pub(super) fn refuse_conflict(
    paths: &Paths,
    name: &GuestName,
    root: &Path,
    what: impl Fn() -> String,
) -> Result<()> {
    let others = Neighbours::read(paths)?.followed();
    let own = format!("give it a root of its own: vserver config set {name} root DIR");
    refuse_found(others.conflict_of_own(paths, name, root), Some(own), what)
}

/// # Errors
/// When a conflict was found, for which `what` can't be done; `own` is what the guest itself
/// can do.
pub(super) fn refuse_found(
    found: Option<Conflict>,
    own: Option<String>,
    what: impl Fn() -> String,
) -> Result<()> {
    let Some(why) = found else { return Ok(()) };
    let error = Error::new(format!("{}: {why}", what()));
    let hints: Vec<_> = own.into_iter().chain(why.remedy()).collect();
    Err(if hints.is_empty() { error } else { error.hint(hints.join("; ")) })
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
    if let Some(base) = place.base().filter(|base| config::lies_in(base, directory)) {
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
    Ok([own, defaults].iter().any(|text| config::may_name(text, directory)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_base_is_the_same_by_any_name() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, shelf) = (Paths::new(directory.path()), directory.path().join("shelf"));
        std::fs::create_dir_all(shelf.join(".snapshots/golden/v1")).unwrap();
        std::fs::create_dir_all(paths.roots_dir().parent().unwrap()).unwrap();
        symlink(&shelf, paths.roots_dir()).unwrap();
        let web = paths.config(&"web".parse().unwrap());
        let names = [shelf.clone(), paths.roots_dir()].map(|at| at.join(".snapshots/golden/v1"));
        for base in &names {
            let storage = format!("kind = \"overlay\"\nbase = \"{}\"\n", base.display());
            for wrong in ["", "wrong = 1\n"] {
                let text = format!("context = 7\n{wrong}[storage]\n{storage}");
                store::replace(&web, &text, 0o644).unwrap();
                for directory in names.iter().flat_map(|name| name.ancestors().take(2)) {
                    let refused = refuse(&paths, directory, || "no".to_owned()).is_err();
                    // A file with mistakes says only what it says.
                    assert!(refused || !wrong.is_empty() && base != &names[0], "{directory:?}");
                }
            }
        }
        refuse(&paths, &shelf.join(".snapshots/web"), || "no".to_owned()).unwrap();
    }
}
