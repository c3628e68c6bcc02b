//! `vserver snapshot`: copies of a guest's files to go back to.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use shared::name::GuestName;

use crate::build::Snapshots;
use crate::cli::{SnapshotAction, SnapshotArgs};
use crate::commands::{Exit, based, delete, output, pause, turn};
use crate::config::{self, Files};
use crate::control::at_rest::{self, AtRest};
use crate::control::{self, Client, Phase, TRIES};
use crate::copying::View;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::report;
use crate::snapshot::SnapshotName;
use crate::storage::{self, Scratch};

/// Carries out what is asked of snapshots.
pub(super) fn run(args: &SnapshotArgs, paths: &Paths) -> Result<Exit> {
    match &args.action {
        SnapshotAction::Create { name, snapshot, dry_run } => {
            let given = snapshot.clone();
            let snapshot = given.unwrap_or_else(|| SnapshotName::of_time(SystemTime::now()));
            if *dry_run {
                would_create(paths, name, &snapshot)
            } else {
                create(paths, name, &snapshot)
            }
        }
        SnapshotAction::List { name, json } => {
            let all = of(paths, name)?.list()?;
            let text = if *json { report::snapshots_json(&all) } else { report::snapshots(&all) };
            output::print(&text)?;
            Ok(Exit::DONE)
        }
        SnapshotAction::Restore { name, snapshot, yes, dry_run } => {
            restore(paths, name, snapshot, *yes, *dry_run)
        }
        SnapshotAction::Delete { name, snapshot, yes, dry_run } => {
            remove(paths, name, snapshot, *yes, *dry_run)
        }
    }
}

pub(super) fn of(paths: &Paths, name: &GuestName) -> Result<Snapshots> {
    Ok(Snapshots::new(name, config::load(paths, name)?.place(paths, name)))
}

fn watch() -> Result<Interrupt> {
    Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))
}

fn would_create(paths: &Paths, name: &GuestName, snapshot: &SnapshotName) -> Result<Exit> {
    let snapshots = of(paths, name)?;
    snapshots.refuse(snapshot)?;
    wait_for_end(paths, name)?;
    output::print(&format!(
        "would copy '{}' to '{}'\nwould describe that in '{}'\n",
        config::load(paths, name)?.root(paths, name).display(),
        snapshots.root(snapshot).display(),
        snapshots.description(snapshot).display()
    ))?;
    Ok(Exit::DONE)
}

fn create(paths: &Paths, name: &GuestName, snapshot: &SnapshotName) -> Result<Exit> {
    // Before it is this command's turn: the last script may want one of its own.
    wait_for_end(paths, name)?;
    // While this is held, nobody starts it.
    let _lock = turn::wait(paths, name)?;
    let snapshots = of(paths, name)?;
    let place = config::load(paths, name)?.place(paths, name);
    let is_image = place.files == Files::Image;
    if is_image {
        settle(paths, name, &place.root);
    }
    // Who is interrupted while it waits for that just ends.
    let held = hold(paths, name)?;
    let interrupt = watch()?;
    let runs = matches!(held, Held::Frozen(_));
    if let Held::Frozen(client) = &held
        && is_image
    {
        flush(paths, name, client, &place.root)?;
    }
    // It goes on as soon as that is known.
    let is_still = move || match &held {
        Held::Frozen(client) => match client.status() {
            Ok(status) if status.frozen => Ok(()),
            Err(error) if error.kind() != Kind::NotRunning => Err(error),
            // The next supervisor lets go of what was held for who has lost the last one.
            Ok(_) | Err(_) => {
                Err(Error::new(format!("guest '{name}' went on while it was copied"))
                    .hint("nothing is kept of the copy: try again"))
            }
        },
        Held::AtRest(_) => Ok(()),
    };
    let progress = Progress::on_terminal();
    let how = snapshots.create(snapshot, runs, &interrupt, progress, is_still)?;
    let root = config::load(paths, name)?.root(paths, name);
    if Scratch::new(name, &root).is_used() {
        output::remark(
            "it is ephemeral: what it has written since its start isn't in the snapshot",
        );
    }
    output::print(&format!("guest '{name}' has a snapshot '{snapshot}' ({how})\n"))?;
    Ok(Exit::DONE)
}

/// A guest whose files nobody changes.
#[derive(Debug)]
enum Held {
    /// It runs, and is frozen for as long as the connection lasts: also if this
    /// program is killed, it goes on.
    Frozen(Client),
    AtRest(#[expect(dead_code, reason = "it counts while it is there")] AtRest),
}

/// What is on its way out, a context of sessions for example, is waited for.
fn is_ending(status: &control::Snapshot) -> bool {
    let is_down = matches!(status.phase, Phase::Stopping | Phase::Stopped);
    is_down || status.shown_phase() == Phase::Session
}

/// Waits for the end of one that is so.
fn wait_for_end(paths: &Paths, name: &GuestName) -> Result<()> {
    match Client::find(paths, name)? {
        Some((_, status)) if !is_ending(&status) => Ok(()),
        _ => at_rest::check(paths, name),
    }
}

fn hold(paths: &Paths, name: &GuestName) -> Result<Held> {
    let mut tries = 0;
    loop {
        match Client::find(paths, name)? {
            Some((client, status)) if !is_ending(&status) => {
                match pause::hold(&client, name) {
                    // Or only its supervisor has ended.
                    Err(error) if error.kind() == Kind::NotRunning && tries < TRIES => tries += 1,
                    held => return held.map(|()| Held::Frozen(client)),
                }
            }
            _ => return at_rest::keep(paths, name).map(Held::AtRest),
        }
    }
}

/// Has most of what an image's file system has yet in memory written while its guest goes
/// on, so that less is left for when that stands still.
fn settle(paths: &Paths, name: &GuestName, image: &Path) {
    let Ok(Some((_, status))) = Client::find(paths, name) else { return };
    let Ok(Some(view)) = View::running(paths, name, &status) else { return };
    // What is left is written then.
    let _ = storage::sync_image(&view.root, image);
}

/// Has the file system in an image, whose guest is frozen, be as still as the guest. An
/// image has in it what was written to the disk; files are read as they are in memory.
fn flush(paths: &Paths, name: &GuestName, client: &Client, image: &Path) -> Result<()> {
    let status = client.status()?;
    // Without a PID 1 nothing has the image mounted for long.
    let view = if status.init_pid > 0 { View::running(paths, name, &status)? } else { None };
    let flushed = view.map_or(Ok(false), |view| storage::flush_image(&view.root, image));
    if !flushed.map_err(|cause| Error::path("write what has changed in", image, cause))? {
        // The guest has it somewhere else than at its root.
        rustix::fs::sync();
    }
    Ok(())
}

fn restore(
    paths: &Paths,
    name: &GuestName,
    snapshot: &SnapshotName,
    yes: bool,
    dry_run: bool,
) -> Result<Exit> {
    let snapshots = of(paths, name)?;
    snapshots.whole(snapshot)?;
    at_rest::check(paths, name)?;
    let not = || format!("guest '{name}' is left as it is");
    if dry_run {
        based::refuse_conflict(paths, name, &config::load(paths, name)?.root(paths, name), not)?;
        output::print(&format!(
            "would replace '{}' by a copy of '{}'\n",
            snapshots.replaced(snapshot)?.display(),
            snapshots.root(snapshot).display()
        ))?;
        return Ok(Exit::DONE);
    }
    let question =
        format!("Are you sure that the files of '{name}' shall be those of '{snapshot}'");
    delete::ask(yes, &question, not)?;
    // The answer may have taken its time.
    let held = turn::at_rest(paths, name, &|| Ok(()))?;
    let root = config::load(paths, name)?.root(paths, name);
    based::refuse_conflict(paths, name, &root, not)?;
    let (snapshots, progress) = (of(paths, name)?, Progress::on_terminal());
    let how = snapshots.restore(snapshot, &watch()?, progress, || drop(held))?;
    output::print(&format!("guest '{name}' is as it was at '{snapshot}' ({how})\n"))?;
    Ok(Exit::DONE)
}

fn remove(
    paths: &Paths,
    name: &GuestName,
    snapshot: &SnapshotName,
    yes: bool,
    dry_run: bool,
) -> Result<Exit> {
    let snapshots = of(paths, name)?;
    let description = snapshots.find(snapshot)?;
    let root = snapshots.root(snapshot);
    based::refuse(paths, &root, || format!("cannot delete the snapshot '{snapshot}'"))?;
    if dry_run {
        let all = [root, description].into_iter().filter(|path| path.symlink_metadata().is_ok());
        let line = |path: PathBuf| format!("would delete '{}'\n", path.display());
        output::print(&all.map(line).collect::<String>())?;
        return Ok(Exit::DONE);
    }
    let question = format!("Are you sure you want to delete the snapshot {snapshot} of {name}");
    delete::ask(yes, &question, || format!("the snapshot '{snapshot}' is not deleted"))?;
    let _lock = turn::wait(paths, name)?;
    based::refuse(paths, &root, || format!("cannot delete the snapshot '{snapshot}'"))?;
    of(paths, name)?.delete(snapshot)?;
    output::print(&format!("the snapshot '{snapshot}' of guest '{name}' is deleted\n"))?;
    Ok(Exit::DONE)
}
