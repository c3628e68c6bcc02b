//! `vserver unify --base`: guests that are stopped are laid over a snapshot.

use std::path::PathBuf;

use shared::name::GuestName;

use crate::build::{Laid, Over, Snapshots};
use crate::cli::{Base, UnifyArgs};
use crate::commands::{Exit, based, clone, output, select, snapshot, turn};
use crate::config::{self, Files, GuestConfig, Storage, StorageKind};
use crate::control::at_rest;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::report::unify::Common;
use crate::unify::Done;

/// Lays one guest after the other; what fails with one keeps no other back.
pub(super) fn run(args: &UnifyArgs, base: &Base, paths: &Paths) -> Result<Exit> {
    let targets = select::guests(&args.guests, paths)?;
    // That there is none is no matter of each guest.
    directory(base, paths)?;
    let interrupt = super::watch()?;
    let mut progress = Progress::on_terminal();
    let mut guests = Vec::with_capacity(targets.len());
    for name in &targets {
        if interrupt.is_asked() {
            break;
        }
        let laid = lay(args, base, paths, name, &interrupt, &mut progress);
        progress.end();
        match laid {
            Err(_) if interrupt.is_asked() => break,
            laid => guests.push(done(name, laid)),
        }
    }
    let is_interrupted = interrupt.is_asked() && guests.len() < targets.len();
    super::show(args, &guests, Common::Base(&base.to_string()), is_interrupted)?;
    Ok(super::code(&guests))
}

/// What came of a guest, or why it is passed by.
enum Outcome {
    Laid(Laid),
    Passed(&'static str),
}

fn done(name: &GuestName, laid: Result<Outcome>) -> Done {
    match laid {
        Ok(Outcome::Passed(why)) => Done::new(name, Some(why.to_owned())),
        Ok(Outcome::Laid(laid)) => {
            let mut done = Done::new(name, None);
            let shared = &mut done.shared;
            (shared.files, shared.left_files) = (laid.files, laid.left_files);
            (shared.shared_files, shared.shared_bytes) = (laid.base_files, laid.base_bytes);
            shared.saved_bytes = laid.saved_bytes;
            done
        }
        Err(error) => {
            let why = match error.remedy() {
                Some(remedy) => format!("{error} ({remedy})"),
                None => error.to_string(),
            };
            Done { has_failed: true, ..Done::new(name, Some(why)) }
        }
    }
}

/// The directory of the snapshot.
fn directory(base: &Base, paths: &Paths) -> Result<PathBuf> {
    let place = snapshot::of(paths, &base.guest)?.files(&base.snapshot)?;
    match place.files {
        Files::Directory => Ok(place.root),
        Files::Image => Err(Error::new(format!("'{base}' can't be a base: it is an image"))),
        Files::Overlay { .. } => {
            Err(Error::new(format!("'{base}' can't be a base: it lies over another one"))
                .hint("'vserver clone NAME NEW --storage directory' makes a guest without one"))
        }
    }
}

fn lay(
    args: &UnifyArgs,
    base: &Base,
    paths: &Paths,
    name: &GuestName,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<Outcome> {
    // No lock is made for a guest that isn't there.
    config::load(paths, name)?;
    // While these are held, nobody starts the guest or removes the snapshot.
    // Always in this order, or two of us could wait for each other.
    let (first, second) =
        if *name < base.guest { (name, &base.guest) } else { (&base.guest, name) };
    let check = || interrupt.check();
    let wait = |name| turn::wait_unless(paths, name, &check);
    // Its last script may want a turn of its own.
    at_rest::check_unless(paths, name, &check)?;
    let locks = (wait(first)?, if first == second { None } else { Some(wait(second)?) });
    let config = config::load(paths, name)?;
    if let Some(why) = super::why_not(&config) {
        return Ok(Outcome::Passed(why));
    }
    let held = (at_rest::keep_unless(paths, name, &check)?, locks);
    let directory = directory(base, paths)?;
    let (root, excluded) = (config.root(paths, name), super::excluded(args, &config)?);
    let over = Over { name, root: &root, base: &directory, excluded: &excluded };
    if let Some(why) = over.why_not()? {
        return Ok(Outcome::Passed(why));
    }
    let what = || format!("guest '{name}' can't be laid over a base");
    based::refuse_conflict(paths, name, &root, what)?;
    based::refuse(paths, &root, what)?;
    let storage = Storage { kind: StorageKind::Overlay, base: Some(directory.clone()) };
    let text = clone::stored(&config::text(paths, name)?, &storage)?;
    config::judge_text(paths, name, &text)?;
    if args.dry_run {
        return over.look(interrupt, progress).map(Outcome::Laid);
    }
    let laid = over.lay(paths, &text, interrupt, progress, || drop(held))?;
    remark_on(paths, name, &config);
    Ok(Outcome::Laid(laid))
}

fn remark_on(paths: &Paths, name: &GuestName, before: &GuestConfig) {
    let snapshots = Snapshots::new(name, before.place(paths, name));
    if snapshots.list().is_ok_and(|all| !all.is_empty()) {
        output::remark(format_args!(
            "snapshots that guest '{name}' had before can't be put back in the place of its files \
             any more, but become guests: vserver clone {name} NEW --snapshot NAME"
        ));
    }
}
