//! `vserver-generator`: called by systemd before it reads its units, and turns
//! guests' configurations into dependencies (systemd.generator(7)).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::cli::GenerateArgs;
use crate::commands::{Exit, output};
use crate::config::{self, GuestConfig};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::runtime::RunDir;
use crate::systemd::{self, File};

/// Writes below the first of the directories.
pub(super) fn run(args: &GenerateArgs, paths: &Paths) -> Result<Exit> {
    let Some(units) = systemd::installed_in() else { return Ok(Exit::DONE) };
    for file in files(paths, &units, output::complain)? {
        write(&args.normal, &file)?;
    }
    Ok(Exit::DONE)
}

/// Has systemd know what guests' configurations say by now, if it doesn't: their order,
/// for example, counts at the host's next shutdown.
pub(super) fn tell(paths: &Paths) {
    if !systemd::starts_guests(paths) {
        return;
    }
    let Some(units) = systemd::installed_in() else { return };
    // Of mistakes in others' configurations the generator tells.
    let told = match files(paths, &units, |_| ()) {
        Ok(files) if systemd::are_known(&files) => Ok(()),
        Ok(_) => systemd::reload(),
        Err(error) => Err(error),
    };
    if let Err(error) = told {
        output::warn(format_args!("{error}; systemd has not heard of this yet"));
    }
}

/// What all configurations mean. One with mistakes counts as it was when its guest was
/// started, if that runs; else the guest is started with the host, if it says so, and its
/// unit fails visibly.
fn files(paths: &Paths, units: &Path, complain: impl Fn(&Error)) -> Result<Vec<File>> {
    let (mut guests, mut files) = (Vec::new(), Vec::new());
    for name in config::names(paths)? {
        let config = config::load(paths, &name).or_else(|error| {
            complain(&error);
            let kept = config::load_kept(&RunDir::new(paths, &name).configuration());
            kept.ok_or(error)
        });
        let config = config.unwrap_or_else(|_| GuestConfig {
            autostart: config::is_autostarted(paths, &name),
            ..GuestConfig::default()
        });
        guests.push(systemd::describe(paths, &name, &config));
        files.extend(systemd::shares(&name, &config.limits));
    }
    files.extend(systemd::files(&guests, units, systemd::version()));
    Ok(files)
}

fn write(directory: &Path, file: &File) -> Result<()> {
    let (File::Link { path, .. } | File::Text { path, .. }) = file;
    let path = directory.join(path);
    let written = || -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match file {
            File::Link { to, .. } => symlink(to, &path),
            File::Text { text, .. } => fs::write(&path, text),
        }
    };
    written().map_err(|error| Error::path("write", &path, error))
}
