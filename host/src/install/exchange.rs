//! Many files written, then all of them exchanged; undone unless committed.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, XattrFlags, fsetxattr, fstatvfs};
use rustix::process::geteuid;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::store;

use super::Content;

/// Files that are about to be exchanged.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Directories that were made, outermost first.
    made: Vec<PathBuf>,
    /// Written beside their places, not there yet.
    prepared: Vec<PathBuf>,
    /// To be taken away.
    doomed: Vec<PathBuf>,
    /// In their places.
    placed: Vec<PathBuf>,
    /// What was there has another name as well, or only that one.
    aside: Vec<PathBuf>,
}

impl Exchange {
    /// Writes one beside its place.
    pub(super) fn prepare(&mut self, path: &Path, content: &Content) -> Result<()> {
        self.make_directories(path.parent().unwrap_or(Path::new("/")))?;
        let new = beside(path, "new");
        // Of a call that was killed.
        let _ = fs::remove_file(&new);
        self.prepared.push(path.to_owned());
        write(&new, content).map_err(|error| explain(path, content, error))
    }

    /// Takes one away; that it is gone already is no mistake.
    pub(super) fn remove(&mut self, path: &Path) -> Result<()> {
        match path.symlink_metadata() {
            Ok(_) => self.doomed.push(path.to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::path("look at", path, error)),
        }
        Ok(())
    }

    /// Puts all of them in their places, unless that is called off meanwhile. At any
    /// moment what was there or what comes is at the place of each that is replaced: a
    /// host may need the program right then.
    pub(super) fn commit(mut self, interrupt: &Interrupt) -> Result<()> {
        for path in std::mem::take(&mut self.doomed) {
            interrupt.check()?;
            self.set_aside(&path)?;
        }
        while let Some(path) = self.prepared.last().cloned() {
            interrupt.check()?;
            self.keep(&path)?;
            fs::rename(beside(&path, "new"), &path)
                .map_err(|error| Error::path("install", &path, error))?;
            self.prepared.pop();
            self.placed.push(path);
        }
        let mut changed: Vec<_> = self.placed.iter().chain(&self.aside).collect();
        changed.sort_unstable();
        changed.dedup_by_key(|path| path.parent());
        changed.into_iter().try_for_each(|path| store::sync_directory(path))?;
        for path in std::mem::take(&mut self.aside) {
            let _ = fs::remove_file(beside(&path, "old"));
        }
        self.placed.clear();
        self.made.clear();
        Ok(())
    }

    /// Gives what is there another name besides, where the file system has such.
    fn keep(&mut self, path: &Path) -> Result<()> {
        if path.symlink_metadata().is_ok() {
            // Of a call that was killed.
            let _ = fs::remove_file(beside(path, "old"));
        }
        if fs::hard_link(path, beside(path, "old")).is_err() {
            return self.set_aside(path);
        }
        self.aside.push(path.to_owned());
        Ok(())
    }

    fn set_aside(&mut self, path: &Path) -> Result<()> {
        match fs::rename(path, beside(path, "old")) {
            Ok(()) => self.aside.push(path.to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::path("replace", path, error)),
        }
        Ok(())
    }

    fn make_directories(&mut self, directory: &Path) -> Result<()> {
        let missing: Vec<&Path> =
            directory.ancestors().take_while(|path| path.symlink_metadata().is_err()).collect();
        for path in missing.into_iter().rev() {
            DirBuilder::new()
                .mode(0o755)
                .create(path)
                .map_err(|error| Error::path("create", path, error))?;
            self.made.push(path.to_owned());
        }
        Ok(())
    }
}

impl Drop for Exchange {
    /// Nothing of it can fail in a way that anybody could do more about.
    fn drop(&mut self) {
        for path in self.prepared.iter().rev() {
            let _ = fs::remove_file(beside(path, "new"));
        }
        for path in self.placed.iter().rev().filter(|path| !self.aside.contains(path)) {
            let _ = fs::remove_file(path);
        }
        for path in self.aside.iter().rev() {
            let _ = fs::rename(beside(path, "old"), path);
            // rename(2) does nothing with two names of one file.
            let _ = fs::remove_file(beside(path, "old"));
        }
        for path in self.made.iter().rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// A name in the same directory that nothing else has.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".vserver-{what}"));
    path.with_file_name(name)
}

fn write(path: &Path, content: &Content) -> io::Result<()> {
    let (bytes, mode) = match content {
        Content::Link(target) => return symlink(target, path),
        Content::Text(text) => (text.as_bytes(), 0o644),
        Content::Program(bytes) | Content::Privileged(bytes) => (bytes.as_slice(), 0o755),
    };
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // Not the group of a setgid directory, as Debian's /usr/local once was.
    if geteuid().is_root() {
        fchown(&file, Some(0), Some(0))?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    if matches!(content, Content::Privileged(_)) {
        // Last: changing the owner takes capabilities away.
        grant(&file)?;
    }
    file.sync_all()
}

/// `cap_setpcap=ep`, in the form of `struct vfs_cap_data` (linux/capability.h,
/// revision 2): the revision with the effective bit, then permitted and
/// inheritable bits 0–31 and 32–63, all little-endian.
const SETPCAP: [u8; 20] = [0x01, 0, 0, 0x02, 0, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn grant(file: &File) -> io::Result<()> {
    fsetxattr(file.as_fd(), "security.capability", &SETPCAP, XattrFlags::empty())?;
    // There the kernel ignores it (execve(2)).
    let flags = fstatvfs(file.as_fd())?.f_flag;
    if flags.contains(StatVfsMountFlags::NOSUID) {
        return Err(io::Error::other("its file system is mounted nosuid"));
    }
    Ok(())
}

fn explain(path: &Path, content: &Content, error: io::Error) -> Error {
    let known = matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::Other
    );
    let error = Error::path("install", path, error);
    match content {
        Content::Privileged(_) if known => error.hint(
            "ordinary users' 'reducecap' is a file with a capability, which takes root and a file \
             system for it; without: --no-capability",
        ),
        _ => error,
    }
}

/// Is this what would be put there?
pub(super) fn is_same(path: &Path, content: &Content) -> bool {
    match content {
        Content::Link(target) => fs::read_link(path).is_ok_and(|link| link == *target),
        Content::Text(text) => {
            is_file(path) && fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes())
        }
        Content::Program(own) | Content::Privileged(own) => {
            is_file(path) && fs::read(path).is_ok_and(|bytes| bytes == *own)
        }
    }
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_file())
}
