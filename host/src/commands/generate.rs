//! `vserver-generator`: called by systemd before it reads its units, and turns
//! guests' configurations into dependencies (systemd.generator(7)).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::cli::GenerateArgs;
use crate::commands::{Exit, output};
use crate::config;
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::systemd::{self, File};

/// Writes below the first of the directories. A guest whose configuration has
/// mistakes is left out: the others start.
pub(super) fn run(args: &GenerateArgs, paths: &Paths) -> Result<Exit> {
    let Some(units) = systemd::installed_in() else { return Ok(Exit::DONE) };
    let (mut guests, mut files) = (Vec::new(), Vec::new());
    for name in config::names(paths)? {
        match config::load(paths, &name) {
            Ok(config) => {
                guests.push(systemd::describe(paths, &name, &config));
                files.extend(systemd::shares(&name, &config.limits));
            }
            Err(error) => output::complain(&error),
        }
    }
    files.extend(systemd::files(&guests, &units, systemd::version()));
    for file in &files {
        write(&args.normal, file)?;
    }
    Ok(Exit::DONE)
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
