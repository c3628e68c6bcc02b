//! What is noted in a workspace before its root leaves it. Should its owner be killed
//! or the power fail, whoever finds it takes back what isn't complete.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, statat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::store;
use crate::sys::handle::handle;

use super::ROOT;

const NAME: &str = "placing";
const GOES_ON: &[u8] = b"goes on";

/// The last field: one that was cut off says nothing.
const END: &[u8] = b"end";

/// Which root comes to which place, and what leaves that for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Journal {
    /// What it is known by ([`identity`]).
    root: String,
    target: PathBuf,
    /// The guest is complete once this is there,
    config: PathBuf,
    /// unless its build goes on from there.
    goes_on: bool,
    /// What was at a path, and where it is moved.
    aside: Vec<(PathBuf, PathBuf)>,
}

impl Journal {
    /// That of the root at this path.
    pub(super) fn new(
        root: &Path,
        target: &Path,
        config: &Path,
        goes_on: bool,
        aside: Vec<(PathBuf, PathBuf)>,
    ) -> Result<Self> {
        let known = identity(CWD, root).map_err(|cause| Error::path("examine", root, cause))?;
        let (target, config) = (target.to_owned(), config.to_owned());
        Ok(Self { root: known, target, config, goes_on, aside })
    }

    /// Writes it into a workspace, and to the disk: no rename that it is for is there
    /// before it.
    pub(super) fn write(&self, workspace: &Path) -> Result<()> {
        let path = workspace.join(NAME);
        let mut options = File::options();
        let made = options.write(true).create_new(true).mode(0o600).open(&path);
        let written = made.and_then(|mut file| {
            file.write_all(&self.to_bytes())?;
            file.sync_all()
        });
        written.map_err(|cause| Error::path("write", &path, cause))?;
        store::sync_directory(&path)?;
        store::sync_directory(workspace)
    }

    /// That of a workspace, if it has one.
    pub(super) fn read(workspace: BorrowedFd<'_>) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(workspace, NAME, flags, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        File::from(file).read_to_end(&mut bytes).ok()?;
        Self::from_bytes(&bytes)
    }

    /// Takes it out of a workspace: from now on all is complete, also after a power
    /// failure.
    pub(super) fn remove(workspace: &Path) -> Result<()> {
        let path = workspace.join(NAME);
        fs::remove_file(&path).map_err(|cause| Error::path("remove", &path, cause))?;
        store::sync_directory(&path)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let aside = self.aside.iter().flat_map(|(path, away)| [path, away]);
        let paths = [&self.target, &self.config].into_iter().chain(aside);
        let mut fields = vec![self.root.as_bytes(), if self.goes_on { GOES_ON } else { b"" }];
        fields.extend(paths.map(|path| path.as_os_str().as_bytes()));
        fields.push(END);
        fields.join(&0)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
        let [root, goes_on, target, config, aside @ .., END] = fields.as_slice() else {
            return None;
        };
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let pairs = aside.chunks(2).map(|pair| match pair {
            [from, away] => Some((path(from), path(away))),
            _ => None,
        });
        Some(Self {
            root: std::str::from_utf8(root).ok()?.to_owned(),
            target: path(target),
            config: path(config),
            goes_on: *goes_on == GOES_ON,
            aside: pairs.collect::<Option<_>>()?,
        })
    }

    /// Has all be as it was before, unless the guest is complete: its root goes back
    /// into the workspace, and what was set aside for it to its place.
    pub(super) fn take_back(&self, workspace: BorrowedFd<'_>) {
        if self.is_root(CWD, &self.target) {
            if self.is_complete() || renameat(CWD, &self.target, workspace, ROOT).is_err() {
                return;
            }
            if self.goes_on && self.is_config_new() {
                let _ = fs::remove_file(&self.config);
            }
            // It never meets what comes back, whenever the power fails.
            let _ = store::sync_directory(&self.target);
        } else if !self.is_root(workspace, Path::new(ROOT)) {
            // Somebody has removed it.
            return;
        }
        for (path, away) in &self.aside {
            let _ = store::rename_new((CWD, away), (CWD, path));
        }
        // On the disk, too, before this note goes.
        for (path, _) in &self.aside {
            let _ = store::sync_directory(path);
        }
    }

    /// Is it its root that is at this path, of a guest that isn't complete?
    pub(super) fn has_left(&self, path: &Path) -> bool {
        self.is_root(CWD, path) && !self.is_complete()
    }

    /// Is it its root that is at this path, of a guest that has its configuration, and
    /// isn't complete all the same?
    pub(super) fn has_cut_short(&self, path: &Path) -> bool {
        self.goes_on && self.is_root(CWD, path)
    }

    /// Could somebody take what is in its place for a guest?
    pub(super) fn may_be_used(&self) -> bool {
        self.has_cut_short(&self.target) && self.config.symlink_metadata().is_ok()
    }

    /// Is something moved that only [`Self::take_back`] puts back?
    pub(super) fn is_needed(&self, workspace: BorrowedFd<'_>) -> bool {
        self.has_left(&self.target)
            || !self.aside.is_empty() && self.is_root(workspace, Path::new(ROOT))
    }

    /// Where its root comes.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    fn is_root(&self, directory: BorrowedFd<'_>, name: &Path) -> bool {
        identity(directory, name).is_ok_and(|known| known == self.root)
    }

    /// Where its root is in its place, the old configuration was moved away before, also on
    /// the disk.
    fn is_complete(&self) -> bool {
        !self.goes_on && self.config.symlink_metadata().is_ok()
    }

    /// If one was to be moved away and isn't there, it may be this one.
    fn is_config_new(&self) -> bool {
        let mut moved = self.aside.iter().filter(|(path, _)| *path == self.config);
        moved.all(|(_, away)| away.symlink_metadata().is_ok())
    }
}

/// What a file or directory is known by, also after the host was switched off: devices and
/// the roots of a btrfs have other numbers then, or all the same ones.
fn identity(directory: BorrowedFd<'_>, name: &Path) -> Result<String, Errno> {
    match handle(directory, name) {
        Ok(bytes) => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        // Where there are no handles.
        Err(_) => {
            let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(format!("{} {}", found.st_dev, found.st_ino))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_off_is_nothing() {
        let aside = [("/v/web", "/v/web.~1~"), ("/e/web.toml", "/e/web.toml.~1~")];
        let aside: Vec<_> = aside.map(|(path, away)| (path.into(), away.into())).to_vec();
        for goes_on in [true, false] {
            for aside in [aside.clone(), Vec::new()] {
                let (target, config) = ("/v/web".into(), "/e/web.toml".into());
                let root = "7 8".to_owned();
                let journal = Journal { root, target, config, goes_on, aside };
                let bytes = journal.to_bytes();
                assert_eq!(Journal::from_bytes(&bytes), Some(journal));
                for length in 0..bytes.len() {
                    assert_eq!(Journal::from_bytes(&bytes[..length]), None);
                }
            }
        }
    }

    /// A number of a device is another one when that comes back.
    #[test]
    fn files_are_known_by_what_stays() {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        fs::create_dir(&one).unwrap();
        fs::write(&two, "").unwrap();
        let known = |path: &Path| identity(CWD, path).unwrap();
        let before = [known(&one), known(&two)];
        assert_ne!(before[0], before[1]);
        if handle(CWD, &one).is_ok() {
            assert!(before.iter().all(|known| !known.contains(' ')), "{before:?}");
        }
        fs::rename(&one, directory.path().join("other")).unwrap();
        assert_eq!(known(&directory.path().join("other")), before[0]);
        // A link is itself.
        std::os::unix::fs::symlink("two", &one).unwrap();
        assert_ne!(known(&one), before[1]);
        assert!(identity(CWD, &directory.path().join("none")).is_err());
    }
}
