//! What is noted in a workspace before its root leaves it. Should its owner be killed
//! or the power fail, whoever finds it takes back what isn't complete.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, statat};

use crate::error::{Error, Result};
use crate::store;

use super::ROOT;

const NAME: &str = "placing";
const GOES_ON: &[u8] = b"goes on";

/// The last field: one that was cut off says nothing.
const END: &[u8] = b"end";

/// Which root comes to which place, and what leaves that for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Journal {
    /// Device and inode.
    root: (u64, u64),
    target: PathBuf,
    /// The guest is complete once this is there,
    config: PathBuf,
    /// unless its build goes on from there.
    goes_on: bool,
    /// What was at a path, and where it is moved.
    aside: Vec<(PathBuf, PathBuf)>,
}

impl Journal {
    pub(super) fn new(
        root: &fs::Metadata,
        target: &Path,
        config: &Path,
        goes_on: bool,
        aside: Vec<(PathBuf, PathBuf)>,
    ) -> Self {
        let (target, config) = (target.to_owned(), config.to_owned());
        Self { root: (root.dev(), root.ino()), target, config, goes_on, aside }
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
        let numbers = [self.root.0.to_string(), self.root.1.to_string()];
        let aside = self.aside.iter().flat_map(|(path, away)| [path, away]);
        let paths = [&self.target, &self.config].into_iter().chain(aside);
        let mut fields: Vec<&[u8]> = numbers.iter().map(|number| number.as_bytes()).collect();
        fields.push(if self.goes_on { GOES_ON } else { b"" });
        fields.extend(paths.map(|path| path.as_os_str().as_bytes()));
        fields.push(END);
        fields.join(&0)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
        let [device, inode, goes_on, target, config, aside @ .., END] = fields.as_slice() else {
            return None;
        };
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let pairs = aside.chunks(2).map(|pair| match pair {
            [from, away] => Some((path(from), path(away))),
            _ => None,
        });
        Some(Self {
            root: (number(device)?, number(inode)?),
            target: path(target),
            config: path(config),
            goes_on: *goes_on == GOES_ON,
            aside: pairs.collect::<Option<_>>()?,
        })
    }

    /// Has all be as it was before, unless the guest is complete: its root goes back
    /// into the workspace, and what was set aside for it to its place.
    pub(super) fn take_back(&self, workspace: BorrowedFd<'_>) {
        let is_root = |directory, name: &Path| {
            statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|found| (found.st_dev, found.st_ino) == self.root)
        };
        if is_root(CWD, &self.target) {
            let is_complete = !self.goes_on && self.config.symlink_metadata().is_ok();
            if is_complete || renameat(CWD, &self.target, workspace, ROOT).is_err() {
                return;
            }
            if self.goes_on {
                let _ = fs::remove_file(&self.config);
            }
        } else if !is_root(workspace, Path::new(ROOT)) {
            // Somebody has removed it.
            return;
        }
        for (path, away) in &self.aside {
            let _ = store::rename_new((CWD, away), (CWD, path));
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
                let journal = Journal { root: (7, 8), target, config, goes_on, aside };
                let bytes = journal.to_bytes();
                assert_eq!(Journal::from_bytes(&bytes), Some(journal));
                for length in 0..bytes.len() {
                    assert_eq!(Journal::from_bytes(&bytes[..length]), None);
                }
            }
        }
    }
}
