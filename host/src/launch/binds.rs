//! Directories of the host's that a guest sees: opened by the host before
//! there is a guest, as detached mounts; the child puts them where they
//! belong.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::mount::{OpenTreeFlags, open_tree};
use shared::stage::{Failure, Stage};

use crate::config::Bind;
use crate::plan::{Ids, Plan};
use crate::storage;
use crate::sys::mount::{self as attributes, Attributes};

use super::at_step;

/// The configured sources, as detached mounts; `None` for one that may be
/// missing and is. In a failure the step is the number of the line.
pub(super) fn open(plan: &Plan) -> Result<Vec<Option<OwnedFd>>, Failure> {
    let numbered = (0u16..).zip(&plan.binds);
    let open = |(number, bind)| {
        at_step(plan.fault, Stage::OpenBinds, number, || match source(bind, plan.ids) {
            Err(error) if bind.optional && error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        })
    };
    numbered.map(open).collect()
}

/// No link is followed, wherever it is: whoever may write to a directory on the
/// way, another guest's root perhaps, would choose what is mounted here.
///
/// # Errors
/// ELOOP if there is one; EPERM as with a guest's root, if what root writes here
/// is root's on the disk and every user of the host can reach it.
fn source(bind: &Bind, ids: Ids) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = openat2(CWD, &bind.source, flags, Mode::empty(), resolve)?;
    let has_disk_ids = bind.idmap || !matches!(ids, Ids::Private(_));
    if has_disk_ids && !bind.read_only {
        let path = fs::read_link(format!("/proc/self/fd/{}", place.as_raw_fd()))?;
        if !storage::is_closed_to_others(&path)? {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
    }
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if bind.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(&place, "", flags)?)
}

/// Sets what each mount allows, and whose ids it shows: those of `namespace`,
/// if the guest has ids of its own.
pub(super) fn prepare(
    plan: &Plan,
    trees: &[Option<OwnedFd>],
    namespace: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    for ((number, bind), tree) in (0u16..).zip(&plan.binds).zip(trees) {
        at_step(plan.fault, Stage::IdmapBinds, number, || {
            let Some(tree) = tree else { return Ok(()) };
            let mut set = attributes::NODEV | attributes::NOSUID;
            for (wanted, flag) in
                [(bind.read_only, attributes::RDONLY), (bind.no_exec, attributes::NOEXEC)]
            {
                set |= if wanted { flag } else { 0 };
            }
            let wanted = Attributes {
                set,
                propagation: libc::MS_PRIVATE,
                idmap: namespace.filter(|_| bind.idmap),
                ..Attributes::default()
            };
            attributes::set_attributes(tree.as_fd(), bind.recursive, &wanted)
        })?;
    }
    Ok(())
}

/// Is it a directory?
pub(super) fn is_directory(tree: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(tree)?.st_mode).is_dir())
}
