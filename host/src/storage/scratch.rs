//! Where a guest that was started with `--ephemeral` writes to.
//!
//! A directory `.ephemeral/NAME` beside its root, with a note of the boot of
//! the host that it is of: it outlives supervisors and reboots of the guest,
//! but none of the host. With the guest's end it goes. It is ordered by who
//! orders the start, and used by the supervisor that does it: one that is left
//! of a guest that was lost with its supervisor is of no start.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::fsroot::remove_tree;

use super::layers;

/// The directory of all of them beside guests' roots.
const ALL: &str = ".ephemeral";
/// Name the boot of the host: of one that waits for a start, and of one in use.
const ORDERED: &str = "ordered";
const USED: &str = "used";
/// A new UUID each time the host boots (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// That of one guest.
#[derive(Clone, Debug)]
pub struct Scratch {
    all: PathBuf,
    path: PathBuf,
}

impl Scratch {
    /// Of a guest with this root.
    pub fn new(name: &GuestName, root: &Path) -> Self {
        let all = root.parent().unwrap_or(root).join(ALL);
        let path = all.join(name.as_str());
        Self { all, path }
    }

    /// Makes it, empty.
    ///
    /// # Errors
    /// When it can't be made; nothing is left then.
    pub fn make(&self) -> Result<()> {
        self.remove()?;
        let failed = |cause| Error::path("create directory", &self.path, cause);
        fs::create_dir_all(&self.path).map_err(failed)?;
        // Closed to everybody but root, as guests' roots are.
        let closed = fs::set_permissions(&self.all, fs::Permissions::from_mode(0o700));
        let filled = closed.map_err(failed).and_then(|()| {
            layers::make(&self.path)?;
            let boot =
                fs::read(BOOT_ID).map_err(|cause| Error::path("read", BOOT_ID.as_ref(), cause))?;
            // Last: without it there is none.
            fs::write(self.path.join(ORDERED), boot).map_err(failed)
        });
        filled.inspect_err(|_| {
            let _ = self.remove();
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is it what a running guest writes to?
    pub fn is_used(&self) -> bool {
        self.is_of_this_boot(USED)
    }

    /// For a start: is it to write there? What is left of an earlier one goes.
    ///
    /// # Errors
    /// When that can't be removed.
    pub fn take(&self) -> Result<bool> {
        if !self.is_of_this_boot(ORDERED) {
            return self.remove().map(|()| false);
        }
        fs::rename(self.path.join(ORDERED), self.path.join(USED))
            .map_err(|cause| Error::path("use", &self.path, cause))?;
        Ok(true)
    }

    fn is_of_this_boot(&self, note: &str) -> bool {
        let boot = fs::read(BOOT_ID).ok();
        boot.is_some() && fs::read(self.path.join(note)).ok() == boot
    }

    /// Removes it with all that was written.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn remove(&self) -> Result<()> {
        let failed = |cause: std::io::Error| Error::path("remove", &self.path, cause);
        let all = match fs::File::open(&self.all) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        for note in [ORDERED, USED] {
            match fs::remove_file(self.path.join(note)) {
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                other => other.map_err(failed)?,
            }
        }
        let name = self.path.file_name().unwrap_or_default();
        match remove_tree(&all, name) {
            Err(rustix::io::Errno::NOENT) => {}
            other => other.map_err(|cause| failed(cause.into()))?,
        }
        let _ = fs::remove_dir(&self.all);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_one_boot_of_the_host_and_goes_with_all_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(&"web".parse().unwrap(), &parent.path().join("web"));
        let file = scratch.path().join(layers::UPPER).join("file");
        assert!(!scratch.take().unwrap() && !scratch.is_used());
        scratch.make().unwrap();
        fs::write(&file, "").unwrap();
        scratch.make().unwrap();
        assert!(!file.exists() && !scratch.is_used());
        assert!(scratch.take().unwrap() && scratch.is_used());
        // The guest was lost, and is started without it.
        assert!(!scratch.take().unwrap() && !scratch.path().exists());
        scratch.make().unwrap();
        fs::write(scratch.path().join(ORDERED), "another").unwrap();
        assert!(!scratch.take().unwrap());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
