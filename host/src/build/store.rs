//! As what a new guest's files lie on the host.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, unlinkat};

use crate::config::{Files, Place, Storage};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::storage::{self, Attached, Blank, Purpose, Size};
use crate::tree;

use super::Work;
use super::clone;
use super::host_keys::Keys;
use super::workspace::Workspace;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// As what a new guest's files lie on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// As they are; on btrfs in a subvolume.
    #[default]
    Directory,
    /// The same, with a copy of what is in this directory; on btrfs at once.
    DirectoryOf(PathBuf),
    /// In a new file system, in one file.
    Image(Blank),
    /// The same, of this size, with the file system that this image has.
    ImageLike(Size, PathBuf),
    /// In a copy of this image.
    ImageOf(PathBuf),
    /// Over another directory.
    Overlay {
        /// The other one, to which nobody writes.
        base: PathBuf,
        /// Another overlay over it that is copied.
        of: Option<PathBuf>,
    },
}

impl Store {
    /// What the guest's configuration says of it.
    pub fn storage(&self) -> Storage {
        let files = match self {
            Self::Directory | Self::DirectoryOf(_) => Files::Directory,
            Self::Image(_) | Self::ImageLike(..) | Self::ImageOf(_) => Files::Image,
            Self::Overlay { base, .. } => Files::Overlay { base: base.clone() },
        };
        Place { root: PathBuf::new(), files }.storage()
    }

    /// Is it a file system that is to be made?
    pub fn is_new_image(&self) -> bool {
        matches!(self, Self::Image(_) | Self::ImageLike(..))
    }

    /// The directory whose files it will have, all or most of them.
    pub(super) fn copied(&self) -> Option<&Path> {
        match self {
            Self::DirectoryOf(of) => Some(of),
            Self::Overlay { base, .. } => Some(base),
            Self::Directory | Self::Image(_) | Self::ImageLike(..) | Self::ImageOf(_) => None,
        }
    }

    /// Makes it in a workspace, to be filled.
    pub(super) fn make(
        &self,
        workspace: &Workspace,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Open> {
        let root = workspace.root();
        let open = |root, how| Open { root, how, attached: None };
        let how = match self {
            Self::Directory => return Ok(open(workspace.make_root()?, None)),
            Self::DirectoryOf(of) => {
                let (root, how) = copy(of, workspace, interrupt, progress)?;
                return Ok(open(root, Some(how)));
            }
            Self::Overlay { base, of } => {
                let how = match of {
                    None => {
                        workspace.make_root()?;
                        storage::make_layers(&root)?;
                        "nothing copied".to_owned()
                    }
                    Some(of) => copy(of, workspace, interrupt, progress)?.1,
                };
                let files = Files::Overlay { base: base.clone() };
                return Ok(open(storage::view(&Place { root, files })?, Some(how)));
            }
            Self::Image(blank) => {
                storage::make_image(&root, *blank)?;
                None
            }
            Self::ImageLike(size, image) => {
                storage::make_image(&root, Blank::like(*size, image)?)?;
                None
            }
            Self::ImageOf(image) => {
                copy_image(image, &root, false, interrupt)?;
                Some("one image".to_owned())
            }
        };
        // Other programs have to find it by a path.
        let at = workspace.make_mount_point()?;
        let tree = storage::mount_image(&root, Purpose::Building)
            .map_err(|failed| failed.into_error(&Place { root, files: Files::Image }))?;
        if self.is_new_image() {
            // mkfs's own, in the way of one that is copied; fsck makes it anew.
            let _ = unlinkat(&tree, "lost+found", AtFlags::REMOVEDIR);
        }
        let attached =
            Attached::new(tree.as_fd(), &at).map_err(|cause| Error::path("mount", &at, cause))?;
        Ok(Open { root: RootDir::open(&at)?, how, attached: Some(attached) })
    }
}

/// Files that are being made.
pub(super) struct Open {
    /// Where.
    pub(super) root: RootDir,
    /// How they came there, if they did.
    pub(super) how: Option<String>,
    /// Goes when the root has gone.
    attached: Option<Attached>,
}

impl Open {
    /// Nothing more is written.
    pub(super) fn close(self) {
        drop(self.root);
        drop(self.attached);
    }
}

/// Makes a workspace's root a copy of a directory that nobody changes; says how.
pub(super) fn copy(
    of: &Path,
    workspace: &Workspace,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<(RootDir, String)> {
    let root = workspace.root();
    let is_made = storage::snapshot_subvolume(of, &root)
        .map_err(|cause| Error::path("make a snapshot of", of, cause))?;
    if is_made {
        return Ok((RootDir::open(&root)?, "a subvolume, blocks shared".to_owned()));
    }
    let root = workspace.make_root()?;
    let mut remarks = Vec::new();
    let keys = Keys::beside(root.path());
    let work = &mut Work { root: &root, interrupt, progress, remarks: &mut remarks, keys };
    let how = clone::copy(&RootDir::open(of)?, &|_, _, _| true, work)?;
    Ok((root, how))
}

/// Copies an image; unless its guest is frozen meanwhile, nobody else may use it.
pub(super) fn copy_image(
    from: &Path,
    to: &Path,
    is_frozen: bool,
    interrupt: &Interrupt,
) -> Result<()> {
    let open = if is_frozen { File::open(from) } else { storage::open_at_rest(from) };
    let source = open.map_err(|cause| match cause.raw_os_error() {
        Some(libc::EBUSY) => {
            let text = format!("cannot copy '{}': the image is in use", from.display());
            Error::new(text).hint("'losetup -j' tells by which loop device")
        }
        _ => Error::path("open", from, cause),
    })?;
    let mut options = File::options();
    let options = options.write(true).create_new(true).mode(0o600);
    let target = options.open(to).map_err(|cause| Error::path("create", to, cause))?;
    let check = || interrupt.check();
    let copied = tree::copy_file(&source, &target, &check);
    interrupt.check()?;
    copied.map_err(|cause| Error::path("copy", from, cause))
}
