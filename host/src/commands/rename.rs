//! `vserver rename`: gives a stopped guest another name.
//!
//! Context, ids, root, logs and account go with it, and what systemd was told of
//! it. The configuration is renamed last: until then the guest has its old name,
//! and a rename that was killed on the way is finished by the same command. A note
//! beside the configuration tells of it, from before the first step to after the last.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::CWD;
use rustix::io::Errno;
use shared::name::GuestName;

use crate::build::Snapshots;
use crate::cli::RenameArgs;
use crate::commands::{Exit, based, belongings, output, turn};
use crate::config::{self, Place, edit};
use crate::control::at_rest;
use crate::error::{Error, Result};
use crate::ids;
use crate::paths::Paths;
use crate::storage::Scratch;
use crate::store;
use crate::supervisor;
use crate::systemd;

/// Renames one guest.
pub(super) fn run(args: &RenameArgs, paths: &Paths) -> Result<Exit> {
    let (old, new) = (&args.old, &args.new);
    if old == new {
        return Err(Error::usage(format!("guest '{old}' has that name already")));
    }
    // Its last script may want a turn of its own.
    at_rest::check(paths, old)?;
    // Always in this order, or two renames could wait for each other.
    let (first, second) = if old < new { (old, new) } else { (new, old) };
    let _first = turn::wait(paths, first)?;
    let _second = turn::wait(paths, second)?;
    let is_noted = noted(paths, old)?.as_ref() == Some(new);
    if is_noted && !is_there(paths, old) && is_there(paths, new) {
        // Killed between the configuration and all that names the guest elsewhere.
        if args.dry_run {
            output::print(&format!("would finish the rename of '{old}' to '{new}'\n"))?;
            return Ok(Exit::DONE);
        }
        let was_linked = systemd::starts_guests(paths) && systemd::is_linked(old);
        return conclude(paths, old, new, was_linked);
    }
    if !is_noted {
        refuse_unfinished(paths, old)?;
        refuse_unfinished(paths, new)?;
    }
    let _at_rest = [at_rest::keep(paths, old)?, at_rest::keep(paths, new)?];
    let is_resumed = is_noted && has_begun(paths, old, new)?;
    let moves = plan(paths, old, new, is_resumed)?;
    if args.dry_run {
        for (from, to) in moves.iter().filter(|(from, _)| from.symlink_metadata().is_ok()) {
            let line = format!("would rename '{}' to '{}'\n", from.display(), to.display());
            output::print(&line)?;
        }
        return Ok(Exit::DONE);
    }
    let was_linked = systemd::starts_guests(paths) && systemd::is_linked(old);
    // What is left of those that were killed is of the old names, and in their accounts.
    supervisor::clear_after(paths, old)?;
    supervisor::clear_after(paths, new)?;
    if !is_resumed {
        set_aside(paths, new)?;
    }
    // What is left of a lost ephemeral start has the old name.
    Scratch::new(old, &config::load(paths, old)?.root(paths, old)).remove()?;
    store::replace(&paths.renaming(old), &format!("{new}\n"), 0o600)?;
    // Before the rest: one that is killed leaves it enabled.
    let linked = if was_linked { systemd::enable(new, true) } else { Ok(()) };
    let linked = linked.map_err(|error| (error, true));
    let carried_out = linked.and_then(|()| carry_out(paths, old, new, &moves));
    carried_out.map_err(|(error, is_undone)| {
        // The first error counts.
        if was_linked {
            let _ = systemd::enable(new, false);
        }
        if is_undone && !is_resumed {
            let _ = fs::remove_file(paths.renaming(old));
        }
        error
    })?;
    conclude(paths, old, new, was_linked)
}

/// The name that a rename was to give, which was killed.
fn noted(paths: &Paths, old: &GuestName) -> Result<Option<GuestName>> {
    let path = paths.renaming(old);
    match store::open(&path).and_then(std::io::read_to_string) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::path("read", &path, cause)),
        Ok(text) => Ok(text.trim().parse().ok()),
    }
}

fn is_there(paths: &Paths, name: &GuestName) -> bool {
    paths.config(name).symlink_metadata().is_ok()
}

/// Had a rename that was noted and killed come to the numbers, which are the first that the
/// new name is given, and not to the configuration?
fn has_begun(paths: &Paths, old: &GuestName, new: &GuestName) -> Result<bool> {
    let is_between = is_there(paths, old) && !is_there(paths, new);
    Ok(is_between && ids::lookup(paths, old)?.is_none())
}

/// # Errors
/// When a rename of this guest, or to this name, was killed on the way: what has either name
/// is of one guest, and needed.
pub(super) fn refuse_unfinished(paths: &Paths, name: &GuestName) -> Result<()> {
    for old in config::names(paths)? {
        let Some(new) = noted(paths, &old)? else { continue };
        if [&old, &new].contains(&name) && has_begun(paths, &old, &new)? {
            let text = format!("a rename of guest '{old}' to '{new}' was cut short");
            let hint = format!("finish it first: vserver rename {old} {new}");
            return Err(Error::new(text).hint(hint));
        }
    }
    Ok(())
}

/// What comes after the configuration has its new name.
fn conclude(paths: &Paths, old: &GuestName, new: &GuestName, was_linked: bool) -> Result<Exit> {
    let _ = fs::remove_file(paths.supervisor_lock(old));
    let followed = follow(paths, old, new);
    if systemd::starts_guests(paths) {
        let unlinked = match was_linked {
            true => systemd::enable(new, true).and_then(|()| systemd::enable(old, false)),
            false => Ok(()),
        };
        systemd::reset_failed(old);
        // Once all names are the new ones: it makes their order of them.
        unlinked.and(systemd::reload())?;
    }
    followed?;
    let _ = fs::remove_file(paths.renaming(old));
    output::print(&format!("guest '{old}' is now '{new}'\n"))?;
    Ok(Exit::DONE)
}

/// What has to be renamed to what, the configuration last.
fn plan(
    paths: &Paths,
    old: &GuestName,
    new: &GuestName,
    is_resumed: bool,
) -> Result<Vec<(PathBuf, PathBuf)>> {
    let root = config::load(paths, old)?.root;
    let mut moves = Vec::new();
    let place = |name| Place::directory(root.clone().unwrap_or_else(|| paths.root(name)));
    let directory = |name| Snapshots::new(name, place(name)).directory().to_owned();
    for moved in [directory(old), paths.root(old)] {
        based::refuse(paths, &moved, || format!("cannot rename guest '{old}'"))?;
    }
    moves.push((directory(old), directory(new)));
    if root.is_none() {
        let what = || format!("cannot rename guest '{old}'");
        // Only one that runs there counts, and no files go.
        let found = config::conflict_of_own(paths, old, &paths.root(old))?;
        based::refuse_found(found, None, what)?;
        moves.push((paths.root(old), paths.root(new)));
    }
    let account = belongings::account(paths, old);
    moves.extend(account.into_iter().zip(belongings::account(paths, new)));
    let settings = belongings::settings(paths, old);
    moves.extend(settings.into_iter().zip(belongings::settings(paths, new)));
    let others = belongings::files(paths, new);
    moves.extend(belongings::files(paths, old).into_iter().zip(others));
    let accounts = belongings::account(paths, new);
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let in_the_way = moves.iter().find(|(_, to)| {
        let is_done = is_resumed && *to != paths.config(new);
        !is_done && !accounts.contains(to) && is_there(to)
    });
    if let Some((from, path)) = in_the_way {
        let text = format!("guest '{new}' exists: there is '{}'", path.display());
        // Whatever has parted them, these may be the only files that this guest has.
        let is_parted = root.is_none() && !is_there(&paths.root(old));
        if is_parted && !is_there(from) && !is_there(&paths.config(new)) {
            let (from, path) = (from.display(), path.display());
            return Err(Error::new(text)
                .hint(format!("if it is what '{old}' lacks, give it back: mv '{path}' '{from}'")));
        }
        // A unit may have settings without a guest.
        let unit = belongings::settings(paths, new).contains(path).then(|| path.file_name());
        return Err(Error::new(text).hint(match unit.flatten().and_then(OsStr::to_str) {
            Some(unit) => {
                let unit = unit.trim_end_matches(".d");
                format!("choose another name, or: systemctl revert {unit}")
            }
            None => format!("choose another name, or 'vserver delete {new}'"),
        }));
    }
    Ok(moves)
}

/// Sets the account of a deleted guest aside that had the new name.
fn set_aside(paths: &Paths, new: &GuestName) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for path in belongings::account(paths, new) {
        let mut away = path.as_os_str().to_owned();
        away.push(format!(".~{now}~"));
        match fs::rename(&path, &away) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            other => {
                other.map_err(|cause| Error::path("set aside", &path, cause))?;
                let away = Path::new(&away).display();
                output::remark(format_args!(
                    "the account of a deleted guest '{new}' is now '{away}'"
                ));
            }
        }
    }
    Ok(())
}

/// Renames everything, or nothing.
///
/// # Errors
/// When that isn't possible, and whether all that was done here is undone. What one that
/// was killed had done before stays so.
fn carry_out(
    paths: &Paths,
    old: &GuestName,
    new: &GuestName,
    moves: &[(PathBuf, PathBuf)],
) -> Result<(), (Error, bool)> {
    let has_numbers = ids::lookup(paths, old).map_err(|error| (error, true))?.is_some();
    if has_numbers {
        ids::rename(paths, old, new).map_err(|error| (error, true))?;
    }
    let mut done = Vec::new();
    rename_all(moves, &mut done).map_err(|error| {
        let mut is_undone = true;
        for (from, to) in done.iter().rev() {
            is_undone &= fs::rename(to, from).is_ok();
        }
        if has_numbers {
            is_undone &= ids::rename(paths, new, old).is_ok();
        }
        (error, is_undone)
    })
}

/// Renames one after the other, and the last one when all others are on the disk.
fn rename_all<'m>(
    moves: &'m [(PathBuf, PathBuf)],
    done: &mut Vec<&'m (PathBuf, PathBuf)>,
) -> Result<()> {
    let Some((last, others)) = moves.split_last() else { return Ok(()) };
    let mut rename = |pair: &'m (PathBuf, PathBuf)| {
        let (from, to) = pair;
        match store::rename_new((CWD, from), (CWD, to)) {
            Ok(()) => done.push(pair),
            // No such file, or renamed before the last attempt was killed.
            Err(Errno::NOENT) => {}
            Err(cause) => return Err(Error::path("rename", from, cause)),
        }
        Ok(())
    };
    others.iter().try_for_each(&mut rename)?;
    let ends = others.iter().flat_map(|(from, to)| [from, to]);
    let mut directories: Vec<_> = ends.filter_map(|path| path.parent()).collect();
    directories.sort();
    directories.dedup();
    for directory in directories.into_iter().filter(|directory| directory.is_dir()) {
        store::sync(directory)?;
    }
    rename(last)?;
    store::sync_directory(&last.1)
}

/// The guests that are started after this one.
fn followers(paths: &Paths, of: &GuestName) -> Result<Vec<(GuestName, Vec<GuestName>)>> {
    // One with mistakes is its administrator's to mend.
    let after = |name: GuestName| {
        let theirs = config::load(paths, &name).ok()?.after;
        theirs.contains(of).then_some((name, theirs))
    };
    Ok(config::names(paths)?.into_iter().filter_map(after).collect())
}

/// Guests that are started after this one name it by its new name.
fn follow(paths: &Paths, old: &GuestName, new: &GuestName) -> Result<()> {
    for (other, after) in followers(paths, old)? {
        let names = after.iter().map(|name| if name == old { new } else { name });
        let names: Vec<String> = names.map(ToString::to_string).collect();
        let key = "after";
        config::change(paths, &other, |text| {
            edit::set(text, key, &names).map_err(|problems| super::config::refused(key, &problems))
        })?;
        output::remark(format_args!("guest '{other}' is started after '{new}' now"));
    }
    Ok(())
}
