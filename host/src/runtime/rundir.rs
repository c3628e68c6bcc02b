//! `/run/vserver/NAME`: made at start, gone after stop.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::error::Result;
use crate::paths::Paths;

use super::Lock;

/// The run directory of one guest. Only root can look into it.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The directory of a guest; nothing is made yet.
    pub fn new(paths: &Paths, name: &GuestName) -> Self {
        Self { path: paths.guest_run_dir(name) }
    }

    /// Makes it, mode 0700.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn create(&self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Socket on which the supervisor takes requests.
    pub fn control(&self) -> PathBuf {
        self.path.join("control")
    }

    /// Socket on which the keeper takes supervisors.
    pub fn keeper(&self) -> PathBuf {
        self.path.join("keeper")
    }

    /// Socket on which the keeper takes console clients.
    pub fn console(&self) -> PathBuf {
        self.path.join("console")
    }

    /// The console's last bytes ([`shared::keeper::RING_HEADER`]).
    pub fn ring(&self) -> PathBuf {
        self.path.join("console.ring")
    }

    /// The state file.
    pub fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// Takes the lock that makes one process the guest's supervisor.
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn supervise(&self) -> Result<Option<Lock>> {
        Lock::try_now(&self.path.join("supervisor.lock"))
    }

    /// Removes it with all its files. It leaves its name at once, so that the
    /// guest's next supervisor finds all of it or nothing.
    ///
    /// # Errors
    /// Those of rename(2), unlink(2) and rmdir(2); a missing directory is no
    /// error.
    pub fn remove(&self) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let gone = self.path.with_file_name(format!(".gone-{name}-{}", std::process::id()));
        let moved = fs::rename(&self.path, &gone).and_then(|()| fs::remove_dir_all(&gone));
        match moved {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
