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
use super::workspace::{self, Leftovers, Workspace};
use crate::interrupt::Interrupt;
use crate::progress::Progress;

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
    /// When there is one already.
    pub fn refuse(&self, name: &SnapshotName) -> Result<()> {
        if !self.description(name).exists() {
            return Ok(());
        }
        let guest = &self.guest;
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
        let made = self.left_at(name).and_then(|(left, doomed)| {
            let made = self.make(name, live, interrupt, &mut progress, is_still);
            // By now the guest goes on. What can't be removed goes with the next one.
            let _ = left.remove(interrupt, &mut progress);
            let _ = doomed.map(Doomed::remove);
            made
        });
        made.inspect_err(|_| self.remove_directory())
    }

    /// What killed ones have left, which is out of the way: among it what has this name
    /// and no description.
    fn left_at(&self, name: &SnapshotName) -> Result<(Leftovers, Option<Doomed>)> {
        let left = Leftovers::take_back(&self.directory)?;
        Ok((left, Doomed::take(&self.root(name), &self.guest)?))
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

    /// Puts a copy of a snapshot in the place of the root, in one step; the old
    /// root is removed.
    ///
    /// # Errors
    /// When there is no such snapshot, it can't be copied, or something is mounted in
    /// the root. That is as it was then.
    pub fn restore(
        &self,
        name: &SnapshotName,
        interrupt: &Interrupt,
        mut progress: Progress,
    ) -> Result<String> {
        let root = self.replaced(name)?;
        let parent = root.parent().unwrap_or(&root);
        let from = self.root(name);
        workspace::sweep(parent, interrupt, &mut progress)?;
        let (workspace, how) = self.copy(&from, parent, false, interrupt, &mut progress)?;
        workspace.sync(&mut progress)?;
        workspace.exchange(&root)?;
        Ok(how)
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
            Doomed::take(&self.root(&name), &self.guest)?.map_or(Ok(()), Doomed::remove)?;
        }
        if self.directory.symlink_metadata().is_ok() {
            workspace::sweep(&self.directory, &Interrupt::default(), &mut Progress::silent())?;
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
mod tests {
    use super::*;

    #[test]
    fn what_a_link_leads_to_is_put_back() {
        let parent = tempfile::tempdir().unwrap();
        let [root, far] = ["web", "far"].map(|name| parent.path().join(name));
        fs::create_dir_all(far.join("big")).unwrap();
        std::os::unix::fs::symlink("far/big", &root).unwrap();
        fs::write(root.join("file"), "before").unwrap();
        let snapshots = Snapshots::new(&"web".parse().unwrap(), Place::directory(&root));
        let (one, interrupt) = ("one".parse().unwrap(), Interrupt::default());
        snapshots.create(&one, false, &interrupt, Progress::silent(), || Ok(())).unwrap();
        fs::write(root.join("file"), "after").unwrap();
        snapshots.restore(&one, &interrupt, Progress::silent()).unwrap();
        assert_eq!(fs::read(far.join("big/file")).unwrap(), b"before");
        assert!(root.is_symlink());
        assert_eq!(fs::read_dir(&far).unwrap().count(), 1, "nothing is left");
    }

    #[test]
    fn they_are_made_listed_put_back_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let (root, guest) = (parent.path().join("web"), "web".parse().unwrap());
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), "before").unwrap();
        let snapshots = Snapshots::new(&guest, Place::directory(&root));
        let (one, interrupt) = ("one".parse().unwrap(), Interrupt::default());
        let create = |name, is_still: fn() -> Result<()>| {
            snapshots.create(name, false, &interrupt, Progress::silent(), is_still)
        };
        create(&one, || Err(Error::new("it moved"))).unwrap_err();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing is left");
        create(&one, || Ok(())).unwrap();
        create(&one, || Ok(())).unwrap_err();
        assert_eq!(snapshots.list().unwrap().len(), 1);
        fs::write(root.join("file"), "after").unwrap();
        fs::write(root.join("new"), "").unwrap();
        snapshots.restore(&one, &interrupt, Progress::silent()).unwrap();
        assert_eq!(fs::read(root.join("file")).unwrap(), b"before");
        assert!(!root.join("new").exists());
        snapshots.restore(&"two".parse().unwrap(), &interrupt, Progress::silent()).unwrap_err();
        let description = snapshots.find(&one).unwrap();
        let made = fs::read_to_string(&description).unwrap();
        let over = |text: &str, directory: &str| {
            fs::write(&description, text).unwrap();
            snapshots.over(directory.as_ref())
        };
        let overlay = "kind = \"overlay\"\nbase = \"/v/golden/v1\"";
        let based = made.replace("kind = \"directory\"", overlay);
        assert!(over(&made, "/v/golden").unwrap().is_none());
        assert!(over(&based, "/v/golden").unwrap().is_some());
        assert!(over(&based, "/v/gold").unwrap().is_none());
        // What can't be read isn't taken for what lies over nothing.
        over(&format!("{based} ="), "/v/golden").unwrap_err();
        assert!(over(&format!("{based} ="), "/v/web").unwrap().is_none());
        fs::write(&description, made).unwrap();
        snapshots.delete(&one).unwrap();
        snapshots.delete(&one).unwrap_err();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing is left");
    }

    #[test]
    fn files_without_a_description_are_in_nobodys_way() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("web");
        fs::create_dir(&root).unwrap();
        let snapshots = Snapshots::new(&"web".parse().unwrap(), Place::directory(&root));
        let (one, interrupt) = ("one".parse().unwrap(), Interrupt::default());
        let stray = snapshots.root(&one);
        let leave = || {
            fs::create_dir_all(&stray).unwrap();
            fs::write(stray.join("stray"), "").unwrap();
        };
        leave();
        assert!(snapshots.list().unwrap().is_empty());
        snapshots.create(&one, false, &interrupt, Progress::silent(), || Ok(())).unwrap();
        assert!(!stray.join("stray").exists());
        assert_eq!(fs::read_dir(snapshots.directory()).unwrap().count(), 2);
        snapshots.delete(&one).unwrap();
        leave();
        snapshots.delete_all().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing is left");
    }

    #[test]
    fn one_whose_deletion_was_cut_short_is_told_and_deleted() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("web");
        fs::create_dir(&root).unwrap();
        let snapshots = Snapshots::new(&"web".parse().unwrap(), Place::directory(&root));
        let (one, interrupt) = ("one".parse().unwrap(), Interrupt::default());
        snapshots.create(&one, false, &interrupt, Progress::silent(), || Ok(())).unwrap();
        assert!(snapshots.list().unwrap()[0].whole);
        fs::remove_dir(snapshots.root(&one)).unwrap();
        assert!(!snapshots.list().unwrap()[0].whole);
        let restored = snapshots.restore(&one, &interrupt, Progress::silent()).map(drop);
        for refused in [restored, snapshots.files(&one).map(drop)] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("its deletion was cut short"), "{error}");
        }
        snapshots.delete(&one).unwrap();
        assert!(snapshots.list().unwrap().is_empty());
    }
}
