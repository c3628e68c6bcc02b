//! guest-init on the host: carried inside this program, kept as one file
//! whose pages all guests share, and opened so that nobody can write to it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::sys::mount::{self, Attributes};

/// The program, as built with this one.
const PROGRAM: &[u8] = include_bytes!(env!("GUEST_INIT_FILE"));

/// Its file name; the hash tells builds apart.
const FILE: &str = concat!("guest-init-", env!("GUEST_INIT_HASH"));

/// Opens guest-init for execution, through a detached read-only mount.
///
/// A guest's root can reach the running program as `/proc/1/exe`. The mount
/// that it was executed through is read-only and belongs to no namespace, so
/// opening it for writing fails with EROFS whatever ids and capabilities the
/// guest has (the way out of CVE-2019-5736).
///
/// # Errors
/// Those of writing the file, of open_tree(2) and mount_setattr(2).
pub fn open(directory: &Path) -> io::Result<OwnedFd> {
    let path = directory.join(FILE);
    if !is_ours(&path) {
        install(directory, &path)?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, &path, flags)?;
    let attributes = Attributes {
        set: mount::RDONLY | mount::NOSUID | mount::NODEV,
        clear: mount::NOEXEC,
        propagation: libc::MS_PRIVATE,
        idmap: None,
    };
    mount::set_attributes(tree.as_fd(), false, &attributes)?;
    Ok(tree)
}

/// A file that only root can have written there, of the right length: the
/// name already says which build it is.
fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_file()
            && meta.uid() == 0
            && meta.mode() & 0o7777 == 0o555
            && meta.len() == PROGRAM.len() as u64
    })
}

/// Gives the file its name, unless another guest's start has been faster: of two
/// files nobody would share the pages.
fn place(temporary: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) if is_ours(path) => fs::remove_file(temporary),
        // What is there isn't right, or the file system can't do that (rename(2)).
        Err(Errno::EXIST | Errno::INVAL) => fs::rename(temporary, path),
        other => Ok(other?),
    }
}

/// Writes the program whole or not at all, and removes older builds: what
/// still runs keeps them open.
fn install(directory: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let temporary = directory.join(format!(".{FILE}.{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(0o555).open(&temporary)?;
        file.write_all(PROGRAM)?;
        file.set_permissions(fs::Permissions::from_mode(0o555))?;
        file.sync_all()?;
        drop(file);
        place(&temporary, path)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    for entry in fs::read_dir(directory)?.filter_map(io::Result::ok) {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("guest-init-") && name != FILE {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
