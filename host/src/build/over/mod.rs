//! Lays a guest that has its files in a directory over a base: what the base
//! has as well goes, the rest stays, and together they are what they were.
//!
//! The layer is made beside the root, out of further names of its files, and
//! takes the root's place in one step, with which the guest's new configuration
//! counts ([`config::Next`]). Until then the guest is as it was.

mod compare;
mod lay;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use shared::name::GuestName;

use crate::config::{self, Excluded, Files, Place};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::storage;
use crate::sys::{extents, quota};

use super::workspace::{Leftovers, Workspace};
use lay::Layer;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Laid {
    /// Files of the guest.
    pub files: u64,
    /// Those that are the base's now.
    pub base_files: u64,
    /// Their bytes.
    pub base_bytes: u64,
    /// Bytes of blocks that only these files had.
    pub saved_bytes: u64,
    /// Files that stay the guest's own.
    pub left_files: u64,
}

/// A guest that is at rest, and stays so meanwhile, and what it is laid over.
#[derive(Debug)]
pub struct Over<'a> {
    /// The guest.
    pub name: &'a GuestName,
    /// Its root, a directory.
    pub root: &'a Path,
    /// A directory to which nobody writes.
    pub base: &'a Path,
    /// What stays its own.
    pub excluded: &'a Excluded,
}

impl Over<'_> {
    /// Why it can't be done with what is at its root, if that is so.
    ///
    /// # Errors
    /// When that can't be told.
    pub fn why_not(&self) -> Result<Option<&'static str>> {
        let failed = |cause| Error::path("examine", self.root, cause);
        // What takes its place would be beside the link, and the files stay where they
        // are.
        if fs::symlink_metadata(self.root).map_err(failed)?.is_symlink() {
            return Ok(Some("its root is a symbolic link: name what it points to in 'root'"));
        }
        let root = File::open(self.root).map_err(failed)?;
        if extents::btrfs_id(root.as_fd()).is_ok() {
            return Ok(Some(
                "its file system is btrfs, where files share blocks without a base: leave \
                 '--base' out",
            ));
        }
        let device = |path: &Path| fs::metadata(path).map(|about| about.dev()).map_err(failed);
        let is_mounted = device(self.root)? != device(self.parent())?;
        Ok(is_mounted.then_some("its root is a file system of its own"))
    }

    /// Finds out what would come of it.
    ///
    /// # Errors
    /// As [`Over::lay`].
    pub fn look(&self, interrupt: &Interrupt, progress: &mut Progress) -> Result<Laid> {
        self.layer(None, interrupt, progress)
    }

    /// Does it, and `is_done` then: the old root is removed while the guest may run again.
    /// `text` is the guest's configuration from then on.
    ///
    /// # Errors
    /// When something can't be read or made, would mean something else in a
    /// layer, or it is interrupted. The guest is as it was then, unless the error
    /// says that it is over the base.
    pub fn lay(
        &self,
        paths: &Paths,
        text: &str,
        interrupt: &Interrupt,
        progress: &mut Progress,
        is_done: impl FnOnce(),
    ) -> Result<Laid> {
        // What a killed one has left are names of the same files.
        Leftovers::of(self.parent(), self.name)?.remove(interrupt, progress)?;
        let laid = self.exchange(paths, text, interrupt, progress);
        is_done();
        laid.map(|(_old, laid)| laid)
    }

    /// The layer takes the place of the root, which is in the workspace then.
    fn exchange(
        &self,
        paths: &Paths,
        text: &str,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<(Workspace, Laid)> {
        let workspace = Workspace::create(self.parent(), self.name)?;
        let upper = self.make(&workspace)?;
        let laid = self.layer(Some(&upper), interrupt, progress)?;
        progress.end();
        let next = config::Next::prepare(paths, self.name, &workspace.root(), text)?;
        workspace.exchange(self.root)?;
        // The guest is over the base now, also if nothing more can be written. On
        // the disk its files come first.
        sync(self.parent()).and_then(|()| next.commit()).map_err(|error| {
            let name = self.name;
            error.context(format_args!("guest '{name}' is over the base, and one thing is left"))
        })?;
        Ok((workspace, laid))
    }

    fn parent(&self) -> &Path {
        self.root.parent().unwrap_or(self.root)
    }

    /// Makes an empty layer. That it can be put together with the base is
    /// tried.
    fn make(&self, workspace: &Workspace) -> Result<RootDir> {
        let root = workspace.root();
        workspace.make_root()?;
        self.charge(&root)?;
        storage::make_layers(&root)?;
        let upper = RootDir::open(&root.join(storage::UPPER))?;
        let files = Files::Overlay { base: self.base.to_owned() };
        storage::view(&Place { root, files })?;
        Ok(upper)
    }

    /// What is made in the layer is charged to whom the guest's files are: no
    /// other directory could have names of them (ext4 and xfs say EXDEV).
    fn charge(&self, layers: &Path) -> Result<()> {
        let opened = |path: &Path| File::open(path).map_err(|c| Error::path("open", path, c));
        let (mine, made) = (opened(self.root)?, opened(layers)?);
        match quota::project(mine.as_fd()) {
            Ok(project) if project > 0 => quota::set_project(made.as_fd(), project, true)
                .map_err(|cause| Error::path("charge", layers, cause)),
            // Where there are no projects, nothing is charged.
            _ => Ok(()),
        }
    }

    fn layer(
        &self,
        upper: Option<&RootDir>,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Laid> {
        let (mine, base) = (RootDir::open(self.root)?, RootDir::open(self.base)?);
        progress.lines("comparing files");
        let check = || interrupt.check();
        let layer =
            Layer { mine: &mine, base: &base, upper, excluded: self.excluded, check: &check };
        layer.make(|names| {
            if names % 64 == 0 {
                progress.say(format!("comparing files of {}: {names}", self.name));
            }
        })
    }
}

/// Waits until the names in a directory are on the disk.
fn sync(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|cause| Error::path("write", directory, cause))
}
