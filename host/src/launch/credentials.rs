//! Credentials of the guest's root: read on the host, and laid out inside as
//! systemd's container interface has it (systemd.io/CONTAINER_INTERFACE).

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chmodat, fstat, openat, statat};
use shared::stage::{Failure, Stage};

use crate::config::{Credential, CredentialFile, MOST_CREDENTIALS};
use crate::plan::{CREDENTIALS, Plan};
use crate::sys::mount::{self as attributes, Attributes, DATA, detached};

use super::{at_step, places};

/// Names and contents. In a failure the step is the number of the credential.
pub(super) fn read(plan: &Plan) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut left = MOST_CREDENTIALS;
    let mut all = Vec::new();
    for (number, (name, credential)) in (0u16..).zip(&plan.credentials) {
        let content = at_step(plan.fault, Stage::Credentials, number, || {
            left = left.checked_sub(name.len()).ok_or_else(too_long)?;
            let content = match credential {
                Credential::Text(text) => text.clone().into_bytes(),
                Credential::File(CredentialFile { file }) => content(file, left)?,
            };
            left = left.checked_sub(content.len()).ok_or_else(too_long)?;
            Ok(content)
        })?;
        all.push((name.clone(), content));
    }
    Ok(all)
}

fn too_long() -> io::Error {
    io::Error::from_raw_os_error(libc::EFBIG)
}

/// What is in a file that only root can have put there.
///
/// # Errors
/// ELOOP for a link on the way; EPERM for what belongs to somebody else or
/// that others can write to, directories on the way included; ENODEV for no
/// ordinary file; EFBIG if there is more than `most`.
fn content(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    // Step by step: what is looked at is what is gone through.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = openat(CWD, "/", flags, Mode::empty())?;
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let mut names = names.peekable();
    while let Some(name) = names.next() {
        let status = fstat(&directory)?;
        if names.peek().is_some() {
            // Nobody puts a directory in the place of root's where the sticky bit
            // is set; but a link to another file of root's (link(2)).
            trusted(status.st_uid, status.st_mode, true)?;
            directory = openat(&directory, name, flags | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|error| link_or(&directory, name, error))?;
            continue;
        }
        trusted(status.st_uid, status.st_mode, false)?;
        // A FIFO would block (open(2)).
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = openat(&directory, name, flags | OFlags::CLOEXEC, Mode::empty())?;
        let status = fstat(&file)?;
        if !FileType::from_raw_mode(status.st_mode).is_file() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        trusted(status.st_uid, status.st_mode, false)?;
        let mut content = Vec::new();
        File::from(file).take(most as u64 + 1).read_to_end(&mut content)?;
        return if content.len() > most { Err(too_long()) } else { Ok(content) };
    }
    Err(io::Error::from_raw_os_error(libc::ENODEV))
}

/// A link where a directory is wanted is ENOTDIR to open(2).
fn link_or(directory: &OwnedFd, name: &std::ffi::OsStr, error: rustix::io::Errno) -> io::Error {
    let status = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_link = status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_symlink());
    if is_link { io::Error::from_raw_os_error(libc::ELOOP) } else { error.into() }
}

/// Is it root's, and may nobody else write to it? With a `sticky` bit others may.
fn trusted(owner: u32, mode: u32, sticky: bool) -> io::Result<()> {
    let others_write = mode & 0o022 != 0 && !(sticky && mode & libc::S_ISVTX != 0);
    let is_roots = owner == 0 && !others_write;
    if is_roots { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
}

/// Lays them out, in a guest whose root is "/" and which hasn't run yet: in
/// memory that is never written to a swap space, read-only, for its root alone.
pub(super) fn lay(credentials: &[(String, Vec<u8>)]) -> io::Result<()> {
    if credentials.is_empty() {
        return Ok(());
    }
    let tree = detached("ramfs", &[], DATA)?;
    for (name, content) in credentials {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&tree, name.as_str(), flags, Mode::from_raw_mode(0o400))?;
        File::from(file).write_all(content)?;
    }
    chmodat(&tree, ".", Mode::from_raw_mode(0o500), AtFlags::empty())?;
    let wanted = Attributes { set: attributes::RDONLY, ..Attributes::default() };
    attributes::set_attributes(tree.as_fd(), false, &wanted)?;
    DirBuilder::new().mode(0o500).create(CREDENTIALS)?;
    let place = openat(CWD, CREDENTIALS, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    places::attach(&tree, &place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_write_is_not_trusted() {
        for (owner, mode, sticky, right) in [
            (0, 0o644, false, true),
            (1000, 0o600, false, false),
            (0, 0o664, false, false),
            (0, 0o646, false, false),
            (0, 0o1777, false, false),
            (0, 0o1777, true, true),
            (0, 0o777, true, false),
            (1000, 0o1777, true, false),
        ] {
            let trusted = trusted(owner, mode, sticky).is_ok();
            assert_eq!(trusted, right, "{owner} {mode:o} {sticky}");
        }
    }
}
