//! `vserver export`: a stopped guest in one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::archive::{self, Head, Manifest, Written};
use crate::build::{Interrupt, Progress};
use crate::cli::ExportArgs;
use crate::commands::{Exit, at_rest, belongings, output};
use crate::config;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::paths::Paths;
use crate::runtime::Lock;

/// Between two looks at the terminal.
const SHOWN_EVERY: u64 = 256;

/// Writes a guest to a file or to standard output.
pub(super) fn run(args: &ExportArgs, paths: &Paths) -> Result<Exit> {
    let name = &args.name;
    // While this is held, nobody starts it.
    let _lock = Lock::wait(&paths.lock(name))?;
    let guest = config::load(paths, name)?;
    at_rest::check(paths, name)?;
    let root = RootDir::open(&guest.root(paths, name))?;
    let actions = belongings::actions(paths, name)?;
    let hostname = guest.hostname(name).to_owned();
    let head = Head {
        manifest: Manifest::new(name.clone(), guest.context, hostname, actions.is_some()),
        config: config::text(paths, name)?,
        actions,
    };
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    if args.file == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(Error::usage("an archive is nothing for a terminal")
                .hint(format!("give a file, or a program: vserver export {name} - | ssh …")));
        }
        let written = write(args, io::stdout().lock(), &head, &root, &interrupt)?;
        remark_on(written);
        return Ok(Exit::DONE);
    }
    let target = Target::create(&args.file, args.force)?;
    let written = write(args, &target.file, &head, &root, &interrupt)?;
    let length = target.keep(args.force)?;
    remark_on(written);
    output::print(&format!(
        "guest '{name}' is in '{}' ({} files, {} bytes)\n",
        args.file.display(),
        written.files,
        length
    ))?;
    Ok(Exit::DONE)
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
    let written = archive::write(to, args.level, head, root, &check, &mut |files| {
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

fn remark_on(written: Written) {
    if written.sockets > 0 {
        output::remark(format_args!("{} sockets are left out", written.sockets));
    }
}

/// A file that has its name when it is whole; before that it goes when it is
/// dropped.
struct Target {
    file: File,
    part: PathBuf,
    path: PathBuf,
}

impl Target {
    fn create(path: &Path, force: bool) -> Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(Error::usage(format!("'{}' can't be a file", path.display())));
        };
        if !force && path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        let name = name.to_string_lossy();
        let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        // There are passwords in it.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let file = file.map_err(|cause| Error::path("create", &part, cause))?;
        Ok(Self { file, part, path: path.to_owned() })
    }

    /// Gives its length.
    fn keep(self, force: bool) -> Result<u64> {
        let failed = |cause| Error::path("write", &self.path, cause);
        self.file.sync_all().map_err(failed)?;
        let length = self.file.metadata().map_err(failed)?.len();
        let how = if force { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, &self.part, CWD, &self.path, how).map_err(|cause| match cause {
            rustix::io::Errno::EXIST => exists(&self.path),
            cause => failed(cause.into()),
        })?;
        Ok(length)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // After a rename there is none.
        let _ = fs::remove_file(&self.part);
    }
}

fn exists(path: &Path) -> Error {
    Error::new(format!("'{}' exists", path.display()))
        .hint("choose another file, or '--force' to replace it")
}
