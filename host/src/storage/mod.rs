//! As what a guest's files lie on the host, and how they are opened.
//!
//! Whatever it is, it is at the path of the guest's root, so that one rename
//! puts it there, sets it aside or removes it: the directory itself
//! ([`Files::Directory`]), a file with a file system (`image`) or a directory
//! of what differs from a base (`layers`). All are opened as mounts that are
//! attached nowhere on the host: with the last descriptor and the last process
//! of the guest they are gone, whatever is killed.

mod failed;
mod format;
mod image;
mod inodes;
mod layers;
mod limit;
mod qgroup;
mod scratch;
mod subvolume;
mod users;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};

use crate::config::{Files, Place};
use crate::error::Result;
use crate::fsroot::RootDir;

pub use failed::{Failed, NO_OVERLAY, Part};
pub use format::{Blank, Size};
pub use image::{
    Purpose, flush as flush_image, make as make_image, mount as mount_image, open_at_rest,
    settle as settle_image, sync as sync_image, thaw as thaw_image,
};
pub use layers::{UPPER, WORK, look, make as make_layers, merge, mount as merge_at};
pub use limit::{can_limit, change_limit, doubt, limit, limited, must_count};
pub use scratch::Scratch;
pub use subvolume::{make as make_subvolume, snapshot as snapshot_subvolume};
pub use users::UserQuotas;

pub use crate::sys::quota::UserQuota;

/// A guest's files, as mounts that are attached nowhere.
#[derive(Debug)]
pub enum Tree {
    /// One has them all.
    Whole(OwnedFd),
    /// Directories over each other, which are put together where the guest is.
    Layers {
        /// Those that nobody writes to, the upper ones first.
        lower: Vec<OwnedFd>,
        /// Holds [`UPPER`] and [`WORK`].
        upper: OwnedFd,
    },
}

impl Tree {
    /// Each of its mounts.
    pub fn mounts(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (lower, last) = match self {
            Self::Whole(tree) => (&[][..], tree),
            Self::Layers { lower, upper } => (lower.as_slice(), upper),
        };
        lower.iter().chain([last]).map(AsFd::as_fd)
    }
}

/// Opens a guest's files for a boot. What that writes goes to `scratch`, if
/// there is one, and stays there.
///
/// # Errors
/// EPERM if every user of the host can reach a directory of them: files in it
/// have real owners on the disk, so a setuid program made inside would give its
/// runner the host's root. EBUSY if an image is in use.
pub fn open(place: &Place, scratch: Option<&Path>) -> Result<Tree, Failed> {
    let root = |path: &Path| directory(path).map_err(Part::Root.failed());
    let scratched = |path: &Path| directory(path).map_err(Part::Scratch.failed());
    let whole = match &place.files {
        Files::Directory => root(&place.root)?,
        Files::Image => image::mount(&place.root, Purpose::Use)?,
        Files::Overlay { base } => {
            let base = directory(base).map_err(Part::Base.failed())?;
            return Ok(match scratch {
                None => Tree::Layers { lower: vec![base], upper: root(&place.root)? },
                Some(scratch) => Tree::Layers {
                    lower: vec![root(&place.root.join(UPPER))?, base],
                    upper: scratched(scratch)?,
                },
            });
        }
    };
    Ok(match scratch {
        None => Tree::Whole(whole),
        Some(scratch) => Tree::Layers { lower: vec![whole], upper: scratched(scratch)? },
    })
}

/// The files of a guest that is down, as it will see them, to be changed.
///
/// # Errors
/// When they can't be opened.
pub fn view(place: &Place) -> Result<RootDir> {
    viewed(place, Purpose::Use)
}

/// The same to be read only: of a snapshot nothing is changed on the disk, not
/// even by the kernel.
///
/// # Errors
/// When they can't be opened.
pub fn view_only(place: &Place) -> Result<RootDir> {
    viewed(place, Purpose::Looking)
}

/// The files of a guest that runs.
#[derive(Debug)]
pub struct Live {
    /// All of them, to be read only.
    pub root: RootDir,
    /// A directory of the file system that what it writes goes to.
    pub disk: RootDir,
}

/// Opens the files of a guest that runs, to be read while it changes them, if they
/// can be. Not an image: who has a file of it open holds back the guest's next
/// boot. Not layers on two file systems: the kernel numbers their files otherwise
/// with each mount, and none could be told from another.
///
/// What the kernel makes of layers that change below a mount is called
/// undefined, but for no crash (Documentation/filesystems/overlayfs.rst): of a
/// file that is read here, attributes and bytes are those of one and the same
/// inode below, and names may be what they were.
///
/// # Errors
/// When they can't be opened.
pub fn view_live(place: &Place) -> Result<Option<Live>> {
    let disk = match &place.files {
        Files::Directory => RootDir::open(&place.root)?,
        Files::Image => return Ok(None),
        Files::Overlay { base } => {
            let upper = place.root.join(UPPER);
            let device = |path: &Path| std::fs::metadata(path).map(|about| about.dev()).ok();
            if device(&upper) != device(base) {
                return Ok(None);
            }
            RootDir::open(&upper)?
        }
    };
    Ok(Some(Live { root: view_only(place)?, disk }))
}

fn viewed(place: &Place, purpose: Purpose) -> Result<RootDir> {
    let failed = |failed: Failed| failed.into_error(place);
    let from = |mount| RootDir::from_fd(mount, &place.root);
    match &place.files {
        Files::Directory => RootDir::open(&place.root),
        Files::Image => image::mount(&place.root, purpose).map(from).map_err(failed),
        Files::Overlay { base } => {
            // Its error names it.
            let base = RootDir::open(base)?;
            let merged = match purpose {
                Purpose::Looking => look(&[&RootDir::open(&place.root.join(UPPER))?, &base]),
                _ => merge(&[&base], &RootDir::open(&place.root)?),
            };
            merged.map(from).map_err(|cause| failed(Part::Layers.failed()(cause)))
        }
    }
}

/// Does some directory on the way keep ordinary users out? Not the last one
/// itself, or a file: its permissions are the guest's to change.
///
/// # Errors
/// Those of stat(2).
pub fn is_closed_to_others(path: &Path) -> io::Result<bool> {
    /// Search permission for others (inode(7)).
    const OTHERS_SEARCH: u32 = 0o001;
    for ancestor in std::fs::canonicalize(path)?.ancestors().skip(1) {
        if std::fs::metadata(ancestor)?.mode() & OTHERS_SEARCH == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A detached copy of the mount at a directory. Mounts below it stay the
/// host's: a guest sees its own files and what its configuration adds.
fn directory(path: &Path) -> io::Result<OwnedFd> {
    if !std::fs::metadata(path)?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    if !is_closed_to_others(path)? {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(CWD, path, flags)?)
}

/// A tree that is attached where this process and those that it starts see it,
/// and nobody else does: with the last of them it is gone. When dropped, this
/// process is where it was before.
#[derive(Debug)]
pub struct Attached {
    at: PathBuf,
    before: OwnedFd,
    directory: OwnedFd,
}

impl Attached {
    /// Attaches a tree at a directory.
    ///
    /// # Errors
    /// Those of unshare(2) and move_mount(2).
    pub fn new(tree: BorrowedFd<'_>, at: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, ".", flags, Mode::empty())?;
        let before = File::open("/proc/self/ns/mnt")?.into();
        unshare(CloneFlags::CLONE_NEWNS)?;
        let attached = Self { at: at.to_owned(), before, directory };
        // What the host mounts meanwhile comes here, and nothing goes there.
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", slave)?;
        move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(attached)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
        let _ = setns(&self.before, CloneFlags::CLONE_NEWNS);
        let _ = rustix::process::fchdir(&self.directory);
    }
}
