//! `vserver unify`: equal files of guests share blocks of the disk, or a base.

mod base;

use shared::name::GuestName;

use crate::cli::UnifyArgs;
use crate::commands::{Exit, output, select};
use crate::config::{self, Excluded, Files, GuestConfig};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::report::unify::{self as report, Common};
use crate::unify::{self, Done, Guest, Request};

/// Shares, and says what that has saved.
pub(super) fn run(args: &UnifyArgs, paths: &Paths) -> Result<Exit> {
    match &args.base {
        Some(base) => base::run(args, base, paths),
        None => share(args, paths),
    }
}

fn share(args: &UnifyArgs, paths: &Paths) -> Result<Exit> {
    let targets = select::guests(&args.guests, paths)?;
    let (mut guests, mut passed) = (Vec::new(), Vec::new());
    let mut exit = Exit::DONE;
    for name in &targets {
        let config = match config::load(paths, name) {
            Ok(config) => config,
            Err(error) if !args.guests.names.is_empty() => return Err(error),
            // The others share all the same.
            Err(error) => {
                output::complain(&error);
                exit = exit.or_failed(&error);
                continue;
            }
        };
        match why_not(&config) {
            Some(why) => passed.push(Done::new(name, Some(why.to_owned()))),
            None => guests.push(guest(args, paths, name, &config, true)?),
        }
    }
    for name in config::names(paths)?.iter().filter(|name| !targets.contains(name)) {
        // What is wrong with others is for commands on them to say.
        let Ok(config) = config::load(paths, name) else { continue };
        if why_not(&config).is_none() {
            guests.push(guest(args, paths, name, &config, false)?);
        }
    }
    if !guests.is_empty() && !rustix::process::geteuid().is_root() {
        return Err(Error::of(Kind::Permission, "only root can look through guests' files"));
    }
    let interrupt = watch()?;
    let request = Request { guests, minimum: args.minimum, dry_run: args.dry_run };
    let mut outcome = unify::unify(request, &interrupt, &mut Progress::on_terminal());
    for name in &outcome.unable {
        let why = "its file system can't share blocks of files".to_owned();
        outcome.guests.push(Done::new(name, Some(why)));
    }
    outcome.guests.extend(passed);
    outcome.guests.sort_by_key(|done| targets.iter().position(|name| *name == done.shared.name));
    show(args, &outcome.guests, Common::Blocks, outcome.is_interrupted)?;
    if let Some(name) = outcome.unable.first() {
        return Err(unable(name));
    }
    Ok(exit.max(code(&outcome.guests)))
}

fn code(guests: &[Done]) -> Exit {
    if guests.iter().any(|done| done.has_failed) { Exit::NO } else { Exit::DONE }
}

/// Says what was done.
///
/// # Errors
/// When that wasn't all.
fn show(args: &UnifyArgs, guests: &[Done], common: Common<'_>, is_interrupted: bool) -> Result<()> {
    for done in guests {
        if let Some(why) = &done.shared.skipped {
            output::remark(format_args!("guest '{}' is passed by: {why}", done.shared.name));
        }
    }
    let shared: Vec<_> = guests.iter().map(|done| done.shared.clone()).collect();
    output::print(&match args.json {
        true => report::json(&shared, common, args.dry_run, is_interrupted),
        false => report::text(&shared, common, args.dry_run),
    })?;
    if is_interrupted {
        return Err(Error::new("interrupted: what is said above was done, and the rest was not")
            .hint("the same command goes on with the rest"));
    }
    Ok(())
}

fn watch() -> Result<Interrupt> {
    Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))
}

fn excluded(args: &UnifyArgs, config: &GuestConfig) -> Result<Excluded> {
    let texts = args.exclude.iter().chain(&config.unify.exclude);
    Excluded::new(texts.map(String::as_str)).map_err(Error::usage)
}

fn guest(
    args: &UnifyArgs,
    paths: &Paths,
    name: &GuestName,
    config: &GuestConfig,
    is_target: bool,
) -> Result<Guest> {
    let excluded = excluded(args, config)?;
    Ok(Guest { name: name.clone(), root: config.root(paths, name), excluded, is_target })
}

/// Why a guest has no files that could share blocks with others'.
fn why_not(config: &GuestConfig) -> Option<&'static str> {
    match Files::of(&config.storage) {
        Files::Directory => None,
        Files::Image => Some("its files are in an image, a file system of its own"),
        Files::Overlay { .. } => {
            Some("it lies over a base, and what it hasn't changed is shared with that already")
        }
    }
}

/// Hard links would do it anywhere, and let one guest change the files of all.
fn unable(name: &GuestName) -> Error {
    Error::new(format!(
        "files of guest '{name}' can't share blocks: their file system has no blocks of two \
         files, as btrfs and xfs (reflink=1) have"
    ))
    .hint(
        "lay like guests over one base, whose files they have on the disk and in memory once: \
         vserver snapshot create GUEST v1; vserver unify --base GUEST@v1 NAME...; new ones: \
         vserver clone GUEST NEW --snapshot v1 --storage overlay",
    )
}
