//! As what a new guest's files lie on the host.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::{Files, Place, Storage};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::storage::{self, Attached, Size};
use crate::tree;

use super::clone;
use super::workspace::Workspace;
use super::{Interrupt, Progress, Work};

/// As what a new guest's files lie on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// As they are; on btrfs in a subvolume.
    #[default]
    Directory,
    /// In a new file system of this size, in one file.
    Image(Size),
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
            Self::Directory => Files::Directory,
            Self::Image(_) | Self::ImageOf(_) => Files::Image,
            Self::Overlay { base, .. } => Files::Overlay { base: base.clone() },
        };
        Place { root: PathBuf::new(), files }.storage()
    }

    /// Makes it in a workspace, to be filled.
    pub(super) fn make(
        &self,
        workspace: &Workspace,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Open> {
        let root = workspace.root();
        match self {
            Self::Directory => return Ok(Open { root: workspace.make_root()?, attached: None }),
            Self::Image(size) => storage::make_image(&root, *size)?,
            Self::ImageOf(image) => copy_file(image, &root, interrupt)?,
            Self::Overlay { base, of } => {
                let directory = workspace.make_root()?;
                match of {
                    None => storage::make_layers(&root)?,
                    Some(of) => {
                        let mut remarks = Vec::new();
                        let work = &mut Work {
                            root: &directory,
                            interrupt,
                            progress,
                            remarks: &mut remarks,
                        };
                        clone::copy(&RootDir::open(of)?, &|_, _, _| true, work)?;
                    }
                }
                let files = Files::Overlay { base: base.clone() };
                return Ok(Open { root: storage::view(&Place { root, files })?, attached: None });
            }
        }
        // Other programs have to find it by a path.
        let failed = |cause| Error::path("mount", &root, cause);
        let at = workspace.make_mount_point()?;
        let tree = storage::mount_image(&root).map_err(failed)?;
        let attached = Attached::new(tree.as_fd(), &at).map_err(failed)?;
        Ok(Open { root: RootDir::open(&at)?, attached: Some(attached) })
    }
}

/// Files that are being made.
pub(super) struct Open {
    /// Where.
    pub(super) root: RootDir,
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

/// Copies one file, an image.
pub(super) fn copy_file(from: &Path, to: &Path, interrupt: &Interrupt) -> Result<()> {
    let source = File::open(from).map_err(|cause| Error::path("open", from, cause))?;
    let mut options = File::options();
    let options = options.write(true).create_new(true).mode(0o600);
    let target = options.open(to).map_err(|cause| Error::path("create", to, cause))?;
    let check = || interrupt.check();
    let copied = tree::copy_file(&source, &target, &check);
    interrupt.check()?;
    copied.map_err(|cause| Error::path("copy", from, cause))
}
