//! Snapshots of guests: copies of their roots, kept in `.snapshots/NAME`
//! beside the root, on its file system, where blocks can be shared.
//!
//! `SNAPSHOT` is the copy, `SNAPSHOT.toml` tells when and how it was made, and
//! is written last: without it there is no snapshot.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use shared::name::GuestName;

use crate::config::{self, Files, Place};
use crate::error::{Error, Result};
use crate::snapshot::{DESCRIPTION, Made, Snapshot, SnapshotName};
use crate::storage;
use crate::store;

use super::Doomed;
use super::removal::real;
use super::store::{self as stores, copy_image};
use super::workspace::{Leftovers, Workspace};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::way;

/// The directory of all snapshots beside guests' roots.
const SNAPSHOTS: &str = ".snapshots";

/// The snapshots of one guest.
#[derive(Clone, Debug)]
pub struct Snapshots {
    guest: GuestName,
    place: Place,
    directory: PathBuf,
}

impl Snapshots {
    /// Those of a guest whose files are there.
    pub fn new(guest: &GuestName, place: Place) -> Self {
        let parent = place.root.parent().unwrap_or(&place.root);
        let directory = parent.join(SNAPSHOTS).join(guest.as_str());
        Self { guest: guest.clone(), place, directory }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All of them, the oldest first.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn list(&self) -> Result<Vec<Snapshot>> {
        let mut found = Vec::new();
        for (name, description) in self.descriptions()? {
            let (whole, made) = (self.has_files(&name), self.read(&description)?);
            found.push(Snapshot { name, whole, made });
        }
        found.sort_by(|a, b| (&a.made.created, &a.name).cmp(&(&b.made.created, &b.name)));
        Ok(found)
    }

    /// One of them that lies over this directory, or one below it, and over
    /// what.
    ///
    /// # Errors
    /// When that can't be told.
    pub fn over(&self, directory: &Path) -> Result<Option<(SnapshotName, PathBuf)>> {
        for (name, description) in self.descriptions()? {
            let made = match self.read(&description) {
                Ok(made) => made,
                Err(error) => {
                    let text = fs::read_to_string(&description);
                    match text.is_ok_and(|text| !config::may_name(&text, directory)) {
                        true => continue,
                        false => return Err(error),
                    }
                }
            };
            let base = made.storage.base.filter(|base| config::lies_in(base, directory));
            if let Some(base) = base {
                return Ok(Some((name, base)));
            }
        }
        Ok(None)
    }

    /// The files that describe them.
    fn descriptions(&self) -> Result<Vec<(SnapshotName, PathBuf)>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|cause| Error::path("read", &self.directory, cause))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|cause| Error::path("read", &self.directory, cause))?;
            let file = entry.file_name();
            let name = file.to_str().and_then(|name| name.strip_suffix(DESCRIPTION));
            let Some(Ok(name)) = name.map(str::parse) else { continue };
            found.push((name, entry.path()));
        }
        Ok(found)
    }

    /// Can there be one of this name?
    ///
    /// # Errors
    /// When there is one already, or others than root may change what is there.
    pub fn refuse(&self, name: &SnapshotName) -> Result<()> {
        let guest = &self.guest;
        if !self.description(name).exists() {
            // Neither could it be deleted.
            let (what, root) = (format!("cannot copy guest '{guest}'"), self.root(name));
            let found = way::follow(&root);
            return found.map(drop).map_err(|doubt| doubt.into_error(&what, &root));
        }
        Err(Error::new(format!("guest '{guest}' has a snapshot '{name}' already"))
            .hint(format!("choose another name, or: vserver snapshot delete {guest} {name}")))
    }

    /// Copies the root. `is_still` is asked when that is done: did nothing
    /// change meanwhile? From then on it may. A snapshot that is listed is on the disk.
    ///
    /// # Errors
    /// When there is such a snapshot, the root can't be copied, or `is_still`
    /// says no. Nothing is left then.
    pub fn create(
        &self,
        name: &SnapshotName,
        live: bool,
        interrupt: &Interrupt,
        mut progress: Progress,
        is_still: impl FnOnce() -> Result<()>,
    ) -> Result<String> {
        self.refuse(name)?;
        self.make_directory()?;
        // What has this name and no description, left by one that was killed, is out of the
        // way.
        let made = Doomed::take(&self.root(name), &self.guest).and_then(|doomed| {
            let made = self.make(name, live, interrupt, &mut progress, is_still);
            // By now the guest goes on. What can't be removed goes with the next one.
            let _ = doomed.map(Doomed::remove);
            let left = Leftovers::of(&self.directory, &self.guest);
            let _ = left.and_then(|left| left.remove(interrupt, &mut progress));
            made
        });
        made.inspect_err(|_| self.remove_directory())
    }

    fn make(
        &self,
        name: &SnapshotName,
        live: bool,
        interrupt: &Interrupt,
        progress: &mut Progress,
        is_still: impl FnOnce() -> Result<()>,
    ) -> Result<String> {
        let created = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let copied = self.copy(&self.place.root, &self.directory, live, interrupt, progress);
        let (workspace, how) = copied?;
        let made = Made { created, live, storage: self.place.storage() };
        is_still()?;
        if self.place.files == Files::Image {
            // What is yet in its journal would else be put in its place by
            // whoever looks at it first.
            storage::settle_image(&workspace.root()).map_err(|failed| {
                failed.into_error(&self.place).context("the copy can't be used")
            })?;
        }
        workspace.sync(progress)?;
        let text = toml::to_string(&made)
            .map_err(|cause| Error::new(format!("cannot describe snapshot '{name}': {cause}")))?;
        let description = self.description(name);
        let placed = workspace.place(&self.root(name), &description, false, false)?;
        store::create(&description, &text, 0o600)?;
        placed.keep();
        Ok(how)
    }

    /// Puts a copy of a snapshot in the place of the root, if there is one, in one step, and
    /// `is_done` then: the old root is removed while the guest may run again.
    ///
    /// # Errors
    /// When there is no such snapshot, it can't be copied, or something is mounted in
    /// the root. That is as it was then.
    pub fn restore(
        &self,
        name: &SnapshotName,
        interrupt: &Interrupt,
        mut progress: Progress,
        is_done: impl FnOnce(),
    ) -> Result<String> {
        let root = self.replaced(name)?;
        let parent = root.parent().unwrap_or(&root);
        // Half a copy takes room that the whole one needs.
        Leftovers::of(parent, &self.guest)?.remove(interrupt, &mut progress)?;
        let restored = self.put_back(&self.root(name), &root, interrupt, &mut progress);
        is_done();
        restored.map(|(_old, how)| how)
    }

    /// A copy takes the place of the root, which is in the workspace then.
    fn put_back(
        &self,
        from: &Path,
        root: &Path,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<(Workspace, String)> {
        let parent = root.parent().unwrap_or(root);
        let (workspace, how) = self.copy(from, parent, false, interrupt, progress)?;
        workspace.sync(progress)?;
        workspace.exchange(root)?;
        Ok((workspace, how))
    }

    /// What is replaced when this one is put back.
    ///
    /// # Errors
    /// As [`Self::restore`], as far as it can be told before.
    pub fn replaced(&self, name: &SnapshotName) -> Result<PathBuf> {
        let guest = &self.guest;
        if self.read(&self.whole(name)?)?.storage != self.place.storage() {
            let text = format!(
                "snapshot '{name}' of guest '{guest}' was made when its files lay there otherwise"
            );
            return Err(Error::new(text)
                .hint(format!("make a guest of it: vserver clone {guest} NEW --snapshot {name}")));
        }
        real(&self.place.root, || format!("cannot restore guest '{guest}'"))
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// When there is none, or it can't be removed.
    pub fn delete(&self, name: &SnapshotName) -> Result<()> {
        let description = self.find(name)?;
        // First what a later build would not sweep away by itself.
        let doomed = Doomed::take(&self.root(name), &self.guest)?;
        fs::remove_file(&description)
            .map_err(|cause| Error::path("remove", &description, cause))?;
        doomed.map_or(Ok(()), Doomed::remove)?;
        self.remove_directory();
        Ok(())
    }

    /// Removes all of them.
    ///
    /// # Errors
    /// When one can't be removed.
    pub fn delete_all(&self) -> Result<()> {
        for snapshot in self.list()? {
            self.delete(&snapshot.name)?;
        }
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for name in entries.map(|entry| entry.file_name()) {
            // What killed ones have left without a description.
            let Some(Ok(name)) = name.to_str().map(str::parse::<SnapshotName>) else { continue };
            let doomed = Doomed::take(&self.root(&name), &self.guest)?;
            doomed.map_or(Ok(()), Doomed::remove)?;
        }
        if self.directory.symlink_metadata().is_ok() {
            let left = Leftovers::of(&self.directory, &self.guest)?;
            left.remove(&Interrupt::default(), &mut Progress::silent())?;
        }
        self.remove_directory();
        Ok(())
    }

    /// The files of a snapshot, which nobody changes.
    ///
    /// # Errors
    /// When there is no such snapshot, its files have gone, or its description can't be
    /// read.
    pub fn files(&self, name: &SnapshotName) -> Result<Place> {
        let made = self.read(&self.whole(name)?)?;
        Ok(Place::new(self.root(name), &made.storage))
    }

    /// Where the files of a snapshot are, if there are such.
    pub fn root(&self, name: &SnapshotName) -> PathBuf {
        self.directory.join(name.as_str())
    }

    fn has_files(&self, name: &SnapshotName) -> bool {
        self.root(name).symlink_metadata().is_ok()
    }

    fn read(&self, description: &Path) -> Result<Made> {
        let text = fs::read_to_string(description)
            .map_err(|cause| Error::path("read", description, cause))?;
        toml::from_str(&text).map_err(|cause: toml::de::Error| {
            Error::new(format!("cannot read '{}': {}", description.display(), cause.message()))
        })
    }

    /// A copy of what is at a path, whose guest runs and `is_frozen`, or is
    /// down, in a workspace of this parent.
    fn copy(
        &self,
        from: &Path,
        parent: &Path,
        is_frozen: bool,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<(Workspace, String)> {
        let workspace = Workspace::create(parent, &self.guest)?;
        let failed = |cause| Error::path("copy", from, cause);
        if fs::metadata(from).map_err(failed)?.is_file() {
            copy_image(from, &workspace.root(), is_frozen, interrupt)?;
            return Ok((workspace, "one image".to_owned()));
        }
        let (_, how) = stores::copy(from, &workspace, interrupt, progress)?;
        Ok((workspace, how))
    }

    /// The file that describes a snapshot, if there is one.
    pub fn description(&self, name: &SnapshotName) -> PathBuf {
        self.directory.join(format!("{name}{DESCRIPTION}"))
    }

    /// The file that describes a snapshot.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, name: &SnapshotName) -> Result<PathBuf> {
        let description = self.description(name);
        if description.exists() {
            return Ok(description);
        }
        Err(Error::new(format!("guest '{}' has no snapshot '{name}'", self.guest))
            .hint(format!("'vserver snapshot list {}' shows those it has", self.guest)))
    }

    /// The same of one that has its files.
    ///
    /// # Errors
    /// When there is none, or its files have gone.
    pub fn whole(&self, name: &SnapshotName) -> Result<PathBuf> {
        let description = self.find(name)?;
        if self.has_files(name) {
            return Ok(description);
        }
        let guest = &self.guest;
        Err(Error::new(format!(
            "the files of snapshot '{name}' of guest '{guest}' have gone: its deletion was cut short"
        ))
        .hint(format!("what is left of it goes with: vserver snapshot delete {guest} {name}")))
    }

    /// Closed to everybody but root, as guests' roots are.
    fn make_directory(&self) -> Result<()> {
        let failed = |cause| Error::path("create directory", &self.directory, cause);
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let top = self.directory.parent().unwrap_or(&self.directory);
        fs::set_permissions(top, fs::Permissions::from_mode(0o700)).map_err(failed)
    }

    /// With the last snapshot both directories go.
    fn remove_directory(&self) {
        let _ = fs::remove_dir(&self.directory);
        let _ = self.directory.parent().map(fs::remove_dir);
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
