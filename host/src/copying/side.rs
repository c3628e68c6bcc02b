//! What a source is, and where what is copied comes to lie: cp(1)'s rules.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::io::Errno;

use crate::error::{Error, Result, told};
use crate::fsroot::RootDir;
use crate::tree::check_place;

use super::place::{Named, Place, named};
use super::view::View;

/// What is copied.
#[derive(Debug)]
pub(super) enum Source {
    /// What is no directory: a name in one.
    File { parent: RootDir, name: OsString },
    /// A directory, by its name, or what is in it.
    Directory { directory: RootDir, name: Option<OsString> },
}

impl Source {
    /// Looks for it.
    ///
    /// # Errors
    /// When it isn't there, or is the kernel's.
    pub(super) fn find(view: &View, place: &Place) -> Result<Self> {
        let path = path_in(view, place)?;
        let failed = |cause| view.root.error("copy", &path, cause);
        let how = named(place.path().as_os_str());
        let (above, last) = match how {
            Named::Content => {
                let directory = view.root.open_dir(&path)?;
                check_place(&directory)?;
                return Ok(Self::Directory { directory, name: None });
            }
            Named::Itself | Named::Followed => view.root.open_parent(&path).map_err(failed)?,
        };
        let name = Some(last.to_owned());
        if how == Named::Followed {
            let directory = view.root.open_dir(&path)?;
            check_place(&directory)?;
            return Ok(Self::Directory { directory, name });
        }
        let stat = statat(&above, last, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let shown = view.root.shown(path.parent().unwrap_or(Path::new("")));
        let parent = RootDir::from_fd(above, shown);
        check_place(&parent)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Self::File { parent, name: last.to_owned() });
        }
        // Below the parent, so that a link in its place isn't followed.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let how = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(&parent, last, flags, Mode::empty(), how);
        let directory = RootDir::from_fd(opened.map_err(failed)?, view.root.shown(&path));
        check_place(&directory)?;
        Ok(Self::Directory { directory, name })
    }

    fn name(&self) -> Option<&OsStr> {
        match self {
            Self::File { name, .. } => Some(name),
            Self::Directory { name, .. } => name.as_deref(),
        }
    }
}

/// Where it comes to lie.
#[derive(Debug)]
pub(super) struct Target {
    /// In this directory.
    pub(super) directory: RootDir,
    /// By this name; by its own if there is none.
    name: Option<OsString>,
}

impl Target {
    /// A directory, which takes what is copied in.
    pub(super) fn into(directory: RootDir) -> Self {
        Self { directory, name: None }
    }

    /// Looks for it. A directory, also one that a link leads to, takes what is
    /// copied in; everything else is the new name.
    ///
    /// # Errors
    /// When the directory isn't there.
    pub(super) fn find(view: &View, place: &Place, several: bool) -> Result<Self> {
        let path = path_in(view, place)?;
        let shown = view.root.shown(&path);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let (directory, name) = match view.root.open_at(&path, flags, Mode::empty()) {
            Ok(directory) => (RootDir::from_fd(directory, shown), None),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
                if !several && named(place.path().as_os_str()) == Named::Itself =>
            {
                let (above, last) = view
                    .root
                    .open_parent(&path)
                    .map_err(|cause| view.root.error("copy to", &path, cause))?;
                let shown = view.root.shown(path.parent().unwrap_or(Path::new("")));
                (RootDir::from_fd(above, shown), Some(last.to_owned()))
            }
            Err(cause) => {
                return Err(Error::path("copy into directory", &shown, cause));
            }
        };
        check_place(&directory)?;
        refuse_foreign(view, &directory)?;
        Ok(Self { directory, name })
    }

    /// The name of a source there; none if what is in it goes into the
    /// directory.
    pub(super) fn name<'a>(&'a self, source: &'a Source) -> Option<&'a OsStr> {
        self.name.as_deref().or_else(|| source.name())
    }

    /// The path of a source there, in words.
    pub(super) fn shown(&self, source: &Source) -> PathBuf {
        self.name(source).map_or_else(
            || self.directory.path().to_owned(),
            |name| self.directory.shown(Path::new(name)),
        )
    }
}

/// The permissions of others to write (inode(7)).
const OTHERS_WRITE: u32 = 0o002;

/// A guest's links lead also into what is mounted there with the owners that it has on the
/// host, and which the guest's root can't write.
///
/// # Errors
/// When a guest that runs wouldn't be let there itself.
fn refuse_foreign(view: &View, directory: &RootDir) -> Result<()> {
    let failed = |cause| directory.error("examine", Path::new(""), cause);
    let stat = statat(directory, "", AtFlags::EMPTY_PATH).map_err(failed)?;
    let is_own = view.owners.inside(stat.st_uid).is_some();
    if is_own || stat.st_mode & OTHERS_WRITE != 0 || view.is_at_rest() {
        return Ok(());
    }
    let text = format!("'{}' belongs to nobody in the guest", told(directory.path()));
    Err(Error::new(text).hint("it is a directory of the host's: copy to where it is there"))
}

/// The path on its side, from the root.
fn path_in(view: &View, place: &Place) -> Result<PathBuf> {
    match place {
        Place::Host(path) => std::path::absolute(path).map_err(|cause| {
            view.root.error("find", path, Errno::from_io_error(&cause).unwrap_or(Errno::NOENT))
        }),
        Place::Guest(_, path) => Ok(path.clone()),
    }
}
