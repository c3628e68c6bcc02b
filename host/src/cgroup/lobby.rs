//! Where a session begins: a cgroup of the host's with room for its helper and
//! for the helper's child on its way into the guest, and for nothing more.
//!
//! The guest sees the child as soon as it exists, and its root can trace it
//! and have it fork. In a cgroup that all sessions share, what comes of that
//! would fill it in time, and no session could begin any more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{GuestCgroup, ignore_missing};

/// The helper, its child, and a child before that one which was killed and
/// which a tracer still holds.
const MOST: &str = "3";

/// How often it is made anew when it has been removed.
const TRIES: u32 = 20;

/// How long dying processes may take to leave it.
const PATIENCE: Duration = Duration::from_secs(1);

/// One for a session of this process; gone when it is dropped.
#[derive(Debug)]
pub struct Lobby {
    directory: PathBuf,
}

impl Lobby {
    /// Makes one, and removes those of sessions whose command was killed.
    ///
    /// # Errors
    /// Those of mkdir(2), and of writing the cgroup's file.
    pub fn new(cgroup: &GuestCgroup) -> io::Result<Self> {
        let sessions = cgroup.session();
        for old in super::children(&sessions) {
            let has_ended = |name: &Path| !Path::new("/proc").join(name).exists();
            if old.file_name().is_some_and(|name| has_ended(Path::new(name))) {
                // It goes with the guest if something is left in it.
                let _ = fs::remove_dir(&old);
            }
        }
        let lobby = Self { directory: sessions.join(std::process::id().to_string()) };
        lobby.persist(|| lobby.make())?;
        Ok(lobby)
    }

    /// Moves the calling process into it.
    ///
    /// # Errors
    /// Those of write(2) on `cgroup.procs`.
    pub fn enter(&self) -> io::Result<()> {
        self.persist(|| super::enter(&self.directory))
    }

    fn make(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        // Where the host doesn't count processes there is no such file.
        ignore_missing(super::write(&self.directory.join("pids.max"), MOST))
    }

    /// systemd removes what is empty of a unit that has failed, all of a sudden: then it
    /// is made anew.
    fn persist(&self, step: impl Fn() -> io::Result<()>) -> io::Result<()> {
        for _ in 0..TRIES {
            match step() {
                Err(error) if is_gone(&error) => self
                    .make()
                    .or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })?,
                done => return done,
            }
        }
        step()
    }
}

/// Has the cgroup been removed, before it was opened or since?
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

impl Drop for Lobby {
    /// By the command, when the helper has ended: what is in it now was never
    /// meant to be.
    fn drop(&mut self) {
        let _ = fs::write(self.directory.join("cgroup.kill"), "1");
        let _ = super::remove(&self.directory, PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_that_is_removed_is_made_again() {
        let base = tempfile::tempdir().unwrap();
        let lobby = Lobby { directory: base.path().join("sessions/17") };
        // As on a file system without cgroups: what would be written isn't there.
        fs::create_dir_all(&lobby.directory).unwrap();
        fs::remove_dir_all(base.path().join("sessions")).unwrap();
        let step = || fs::read_dir(&lobby.directory).map(drop);
        lobby.persist(step).unwrap();
        let refused = || Err(io::Error::from_raw_os_error(libc::EACCES));
        assert_eq!(lobby.persist(refused).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let gone = || Err(io::Error::from_raw_os_error(libc::ENODEV));
        assert_eq!(lobby.persist(gone).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        fs::remove_dir_all(base.path().join("sessions")).unwrap();
    }
}
