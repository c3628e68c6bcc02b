//! `vserver export`: a stopped guest in one file.

use std::io::{self, BufWriter, IsTerminal};
use std::path::Path;

use shared::name::GuestName;

use crate::archive::{self, Head, Manifest, Written};
use crate::cli::ExportArgs;
use crate::commands::{Exit, belongings, output, select, turn};
use crate::config::{self, GuestConfig, edit};
use crate::control::at_rest;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::storage;
use crate::store::{self, Growing};

/// Between two looks at the terminal.
const SHOWN_EVERY: u64 = 256;

/// Writes a guest to a file or to standard output.
pub(super) fn run(args: &ExportArgs, paths: &Paths) -> Result<Exit> {
    let name = &args.name;
    if args.dry_run {
        return would(args, paths);
    }
    // While this is held, nobody starts it.
    let _held = turn::at_rest(paths, name, &|| Ok(()))?;
    let guest = config::load(paths, name)?;
    let root = storage::view_only(&guest.place(paths, name))?;
    let head = head(paths, name, &guest)?;
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    refuse(args)?;
    if args.file == Path::new("-") {
        let written = write(args, io::stdout().lock(), &head, &root, &interrupt)?;
        remark_on(written);
        return Ok(Exit::DONE);
    }
    // There are passwords in it.
    let target = Growing::begin(&args.file)?;
    let written = write(args, target.file(), &head, &root, &interrupt)?;
    let length = target.finish(args.force)?.ok_or_else(|| exists(&args.file))?;
    remark_on(written);
    output::print(&format!(
        "guest '{name}' is in '{}' ({} files, {} bytes)\n",
        args.file.display(),
        written.files,
        length
    ))?;
    Ok(Exit::DONE)
}

/// Says what would be written.
fn would(args: &ExportArgs, paths: &Paths) -> Result<Exit> {
    let (name, file) = (&args.name, args.file.display());
    let guest = config::load(paths, name)?;
    at_rest::check(paths, name)?;
    head(paths, name, &guest)?;
    refuse(args)?;
    let is_there = args.file.symlink_metadata().is_ok();
    output::print(&match (args.file == Path::new("-"), is_there) {
        (true, _) => format!("would write guest '{name}' to standard output\n"),
        (false, true) => format!("would replace '{file}' by guest '{name}'\n"),
        (false, false) => format!("would write guest '{name}' to '{file}'\n"),
    })?;
    Ok(Exit::DONE)
}

/// Is that a place for an archive?
fn refuse(args: &ExportArgs) -> Result<()> {
    if args.file == Path::new("-") {
        let is_shown = io::stdout().is_terminal() && !args.dry_run;
        let error = || {
            Error::usage("an archive is nothing for a terminal")
                .hint(format!("give a file, or a program: vserver export {} - | ssh …", args.name))
        };
        return if is_shown { Err(error()) } else { Ok(()) };
    }
    if args.file.file_name().is_none() {
        return Err(Error::usage(format!("'{}' can't be a file", args.file.display())));
    }
    store::only_a_file(&args.file)?;
    if !args.force && args.file.symlink_metadata().is_ok() {
        return Err(exists(&args.file));
    }
    Ok(())
}

/// What precedes a guest's files.
///
/// # Errors
/// When its configuration or its actions can't be read.
pub(super) fn head(paths: &Paths, name: &GuestName, guest: &GuestConfig) -> Result<Head> {
    let actions = belongings::actions(paths, name)?;
    let hostname = guest.hostname(name).to_owned();
    let mut config = config::text(paths, name)?;
    // Said by this host's systemd alone, it would be lost.
    if select::is_enabled(paths, name, guest) && !guest.autostart {
        config = edit::set(&config, "autostart", &["true".to_owned()])
            .map_err(|problems| super::config::refused("autostart", &problems))?;
    }
    Ok(Head {
        manifest: Manifest::new(name.clone(), guest.context, hostname, actions.is_some()),
        config,
        actions,
    })
}

fn write(
    args: &ExportArgs,
    to: impl io::Write,
    head: &Head,
    root: &RootDir,
    interrupt: &Interrupt,
) -> Result<Written> {
    let mut progress = Progress::on_terminal();
    progress.lines("exporting");
    let to = BufWriter::with_capacity(256 * 1024, to);
    let check = || interrupt.check();
    let written = archive::write(to, args.level, head, Some(root), &check, &mut |files| {
        if files % SHOWN_EVERY == 0 {
            progress.say(format!("exporting: {files} files"));
        }
    });
    // An interrupt makes writing fail, too.
    interrupt.check()?;
    written.map_err(|error| {
        error.context(format_args!(
            "cannot export guest '{}' to '{}'",
            args.name,
            args.file.display()
        ))
    })
}

/// Says what is left out.
pub(super) fn remark_on(written: Written) {
    if written.sockets > 0 {
        output::remark(format_args!("{} sockets are left out", written.sockets));
    }
    if written.attributes > 0 {
        let count = written.attributes;
        output::remark(format_args!("{count} attributes with odd names are left out"));
    }
}

fn exists(path: &Path) -> Error {
    Error::new(format!("'{}' exists", path.display()))
        .hint("choose another file, or '--force' to replace it")
}
