//! `vserver delete`: the root directory, its snapshots, the configuration, the actions, the
//! logs, the records of processes, the settings of its units and the numbers of stopped
//! guests.
//!
//! Whatever of these is missing is no mistake, so that a deletion that was
//! cut short can be repeated.

use std::fs;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::build::{Doomed, Snapshots, real_root};
use crate::cli::DeleteArgs;
use crate::commands::{Exit, based, belongings, output, rename, turn};
use crate::config::{self, Neighbours, Place};
use crate::control::at_rest;
use crate::error::{Error, Kind, Result};
use crate::ids;
use crate::paths::Paths;
use crate::storage::Scratch;
use crate::supervisor;
use crate::systemd;
use crate::tree::Check;

/// Deletes one guest after the other, so that questions don't mix.
pub(super) fn run(args: &DeleteArgs, paths: &Paths) -> Result<Exit> {
    for name in &args.names {
        let root = check(paths, name)?;
        if args.dry_run {
            output::print(&listing(paths, name, &root))?;
            continue;
        }
        let question = format!("Are you sure you want to delete the vserver {name}");
        ask(args.yes, &question, || format!("guest '{name}' is not deleted"))?;
        now(paths, name, &|| Ok(()))?;
        output::print(&format!("guest '{name}' is deleted\n"))?;
    }
    Ok(Exit::DONE)
}

/// Deletes one guest without asking. `may_wait` ends the waiting for others.
///
/// # Errors
/// When it isn't stopped, or something of it can't be removed.
pub(super) fn now(paths: &Paths, name: &GuestName, may_wait: Check<'_>) -> Result<()> {
    // A question may have taken its time.
    let (_at_rest, lock) = turn::at_rest(paths, name, may_wait)?;
    let root = check(paths, name)?;
    supervisor::clear_after(paths, name)?;
    let starts_guests = systemd::starts_guests(paths);
    let is_linked = starts_guests && systemd::is_linked(name);
    let link = |link| if is_linked { systemd::enable(name, link) } else { Ok(()) };
    delete(paths, name, &root, link)?;
    if starts_guests {
        systemd::reset_failed(name);
        // Only what nobody looks at is left if it doesn't do that.
        let _ = systemd::reload();
    }
    lock.remove(&paths.lock(name));
    Ok(())
}

/// Where the guest's root is, if the guest can be deleted.
fn check(paths: &Paths, name: &GuestName) -> Result<PathBuf> {
    at_rest::check(paths, name)?;
    rename::refuse_unfinished(paths, name)?;
    let (root, is_named) = match config::load(paths, name) {
        Ok(config) => (config.root(paths, name), config.root.is_some()),
        Err(error) if error.kind() == Kind::NoSuchGuest => {
            let root = paths.root(name);
            let is_known = ids::lookup(paths, name)?.is_some();
            if !is_known && root.symlink_metadata().is_err() {
                return Err(error);
            }
            (root, false)
        }
        Err(error) => return Err(error),
    };
    let what = || format!("cannot delete guest '{name}'");
    real_root(&root, what)?;
    let others = Neighbours::read(paths)?.followed();
    let own = match is_named {
        true => Some(format!("vserver config unset {name} root, then delete it")),
        false => root.is_symlink().then(|| format!("rm {}, then delete it", root.display())),
    };
    based::refuse_found(others.conflicts(name, &root).into_iter().next(), own, what)?;
    for directory in [&*root, snapshots(name, &root).directory()] {
        based::refuse_for_others(paths, name, directory, what)?;
    }
    Ok(root)
}

/// Those of a guest whose files are there; as what doesn't matter to their end.
pub(super) fn snapshots(name: &GuestName, root: &Path) -> Snapshots {
    Snapshots::new(name, Place::directory(root))
}

/// Those of the guest's name, the configuration last; a rename that was killed has left a
/// note.
fn files(paths: &Paths, name: &GuestName) -> impl Iterator<Item = PathBuf> {
    [paths.renaming(name)].into_iter().chain(belongings::files(paths, name))
}

fn listing(paths: &Paths, name: &GuestName, root: &Path) -> String {
    [root.to_owned(), snapshots(name, root).directory().to_owned()]
        .into_iter()
        // What a link leads to goes with it.
        .chain(root.is_symlink().then(|| config::real_path(root)))
        .chain(belongings::settings(paths, name))
        .chain(files(paths, name))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| format!("would delete '{}'\n", path.display()))
        .collect()
}

/// Asks before something is destroyed, on a terminal; elsewhere nobody can be
/// asked.
///
/// # Errors
/// What `not` says, when the answer is no.
pub(super) fn ask(yes: bool, question: &str, not: impl FnOnce() -> String) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::usage(format!("{} without '--yes'", not())));
    }
    if output::confirm(question)? { Ok(()) } else { Err(Error::usage(not())) }
}

/// The root goes first, which takes long or is refused, and what the guest is known by last:
/// whenever this is cut short, the guest is there whole, or can be deleted again. `link`
/// says whether systemd is to start it: the next guest of this name isn't to be started
/// with the host because this one was.
fn delete(
    paths: &Paths,
    name: &GuestName,
    root: &Path,
    link: impl Fn(bool) -> Result<()>,
) -> Result<()> {
    link(false)?;
    let doomed = Doomed::take(root, name).inspect_err(|_| {
        // The first error counts.
        let _ = link(true);
    })?;
    doomed.map_or(Ok(()), Doomed::remove)?;
    snapshots(name, root).delete_all()?;
    Scratch::new(name, root).remove()?;
    remove_settings(paths, name)?;
    for file in files(paths, name) {
        match fs::remove_file(&file) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(Error::path("remove", &file, cause));
            }
            _ => {}
        }
    }
    ids::release(paths, name)
}

/// The next guest of this name isn't to have what was set for this one's units.
fn remove_settings(paths: &Paths, name: &GuestName) -> Result<()> {
    for path in belongings::settings(paths, name) {
        let removed = match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => continue,
        };
        removed.map_err(|cause| Error::path("remove", &path, cause))?;
        output::remark(format_args!("what was set for its unit is gone: '{}'", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::runtime::RunDir;
    use crate::store;

    #[test]
    fn a_deletion_that_was_cut_short_is_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, web) = (Paths::new(directory.path()), "web".parse().unwrap());
        let (root, config) = (paths.root(&web), paths.config(&web));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(paths.config_dir()).unwrap();
        fs::write(&config, "context = 40007\n").unwrap();
        fs::write(paths.renaming(&web), "www\n").unwrap();
        ids::allocate(&paths, &web, 40_007.try_into().ok()).unwrap();
        // As long as systemd starts it, it is whole.
        delete(&paths, &web, &root, |_| Err(Error::new("no"))).unwrap_err();
        assert!(root.join("etc").exists() && config.exists());
        // What can't be removed is in the way of what comes after it only.
        let (gone, log) = (|_| Ok(()), paths.log(&web));
        fs::create_dir_all(&log).unwrap();
        delete(&paths, &web, &root, gone).unwrap_err();
        assert!(!root.exists() && config.exists());
        fs::remove_dir(&log).unwrap();
        delete(&paths, &web, &check(&paths, &web).unwrap(), gone).unwrap();
        assert_eq!(fs::read_dir(paths.config_dir()).unwrap().count(), 0);
        assert_eq!(check(&paths, &web).unwrap_err().kind(), Kind::NoSuchGuest);
        // And once more, as long as it has its numbers.
        ids::allocate(&paths, &web, None).unwrap();
        delete(&paths, &web, &check(&paths, &web).unwrap(), gone).unwrap();
        assert_eq!(check(&paths, &web).unwrap_err().kind(), Kind::NoSuchGuest);
    }

    #[test]
    fn a_guest_whose_root_stays_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, web) = (Paths::new(directory.path()), "web".parse().unwrap());
        let root = paths.root(&web);
        fs::create_dir_all(&root).unwrap();
        let made = snapshots(&web, &root).description(&"v1".parse().unwrap());
        let text = "created = \"2026-01-01T00:00:00Z\"\nlive = false\n[storage]\n";
        store::create(&made, text, 0o600).unwrap();
        let (linked, gone) = (Cell::new(true), made.with_extension(""));
        fs::create_dir(&gone).unwrap();
        let link = |link| {
            linked.set(link);
            Ok(())
        };
        let mode = |mode| fs::set_permissions(paths.roots_dir(), fs::Permissions::from_mode(mode));
        // Others could put something in its place.
        mode(0o777).unwrap();
        delete(&paths, &web, &root, link).unwrap_err();
        assert!(root.exists() && made.exists() && gone.exists() && linked.get());
        mode(0o755).unwrap();
        delete(&paths, &web, &root, link).unwrap();
        assert_eq!(fs::read_dir(paths.roots_dir()).unwrap().count(), 0);
        assert!(!linked.get());
    }

    #[test]
    fn a_guest_that_is_half_renamed_is_not_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path());
        let [web, www] = ["web", "www"].map(|name| name.parse::<GuestName>().unwrap());
        store::create(&paths.config(&web), "context = 40007\n", 0o644).unwrap();
        fs::write(paths.renaming(&web), "www\n").unwrap();
        fs::create_dir_all(paths.root(&www)).unwrap();
        ids::allocate(&paths, &web, 40_007.try_into().ok()).unwrap();
        // It hadn't begun: these are somebody else's.
        check(&paths, &web).unwrap();
        check(&paths, &www).unwrap();
        ids::rename(&paths, &web, &www).unwrap();
        for name in [&web, &www] {
            let refused = check(&paths, name).unwrap_err();
            assert!(refused.to_string().contains("guest 'web' to 'www' was cut short"));
            assert!(refused.remedy().unwrap().ends_with("vserver rename web www"));
        }
        // It had come to its end.
        fs::rename(paths.config(&web), paths.config(&www)).unwrap();
        check(&paths, &www).unwrap();
    }

    #[test]
    fn nothing_of_anothers_goes_with_a_root() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, shelf) = (Paths::new(directory.path()), directory.path().join("shelf"));
        let guest = |name: &str| name.parse::<GuestName>().unwrap();
        let (shown, prefix) = (shelf.display(), directory.path().display());
        for (name, text) in [
            ("a", format!("context = 7\nroot = \"{shown}\"\n")),
            ("inner", format!("context = 8\nroot = \"{shown}/inner\"\n")),
            ("every", format!("context = 9\nroot = \"{prefix}/var/lib/vservers\"\n")),
        ] {
            store::create(&paths.config(&guest(name)), &text, 0o644).unwrap();
        }
        for path in [&shelf.join("inner"), &shelf.join("b"), &paths.roots_dir()] {
            fs::create_dir_all(path).unwrap();
        }
        let refused = |name: &str| {
            let error = check(&paths, &guest(name)).unwrap_err();
            format!("{error}; {}", error.remedy().unwrap_or_default())
        };
        let remedies = |own: &str, other: &str| {
            format!(
                "the root of guest '{other}'; vserver config unset {own} root, then delete it; \
                 if that of '{other}' is the wrong one: vserver config edit {other}"
            )
        };
        assert!(refused("a").ends_with(&remedies("a", "inner")), "{}", refused("a"));
        assert!(refused("every").ends_with("; vserver config unset every root, then delete it"));
        // Where it is the root of the one around it says where it leads to.
        assert!(refused("inner").ends_with(&remedies("inner", "a")), "{}", refused("inner"));
        // Whatever else is wrong with the other one's file, and however it is written there.
        let text = format!("wrong = 1\nroot = \"{prefix}/./shelf/b\"\n");
        fs::write(paths.config(&guest("inner")), text).unwrap();
        assert!(refused("a").contains("the root of guest 'inner'"), "{}", refused("a"));
        // One that it has only as long as it runs.
        fs::write(paths.config(&guest("inner")), "context = 8\n").unwrap();
        check(&paths, &guest("a")).unwrap();
        let kept = RunDir::new(&paths, &guest("inner")).configuration();
        store::create(&kept, format!("root = \"{shown}\"\n"), 0o644).unwrap();
        assert!(refused("a").ends_with("vserver stop inner"), "{}", refused("a"));
        fs::remove_file(kept).unwrap();
        check(&paths, &guest("a")).unwrap();
        // One that a link leads to.
        symlink(shelf.join("b"), paths.root(&guest("inner"))).unwrap();
        assert!(refused("a").contains(&format!("holds '{shown}/b', the root of guest 'inner'")));
        fs::write(paths.config(&guest("a")), format!("root = \"{shown}/b\"\n")).unwrap();
        assert!(refused("a").contains("is the root of guest 'inner'"), "{}", refused("a"));
        let why = || "no".to_owned();
        based::refuse_conflict(&paths, &guest("a"), &shelf.join("b"), why).unwrap_err();
    }
}
