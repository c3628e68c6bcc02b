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
            let is_gone = |name: &Path| !Path::new("/proc").join(name).exists();
            if old.file_name().is_some_and(|name| is_gone(Path::new(name))) {
                // It goes with the guest if something is left in it.
                let _ = fs::remove_dir(&old);
            }
        }
        let lobby = Self { directory: sessions.join(std::process::id().to_string()) };
        // systemd removes what is empty of a unit that has failed.
        fs::create_dir_all(&lobby.directory)?;
        // Where the host doesn't count processes there is no such file.
        ignore_missing(super::write(&lobby.directory.join("pids.max"), MOST))?;
        Ok(lobby)
    }

    /// Moves the calling process into it.
    ///
    /// # Errors
    /// Those of write(2) on `cgroup.procs`.
    pub fn enter(&self) -> io::Result<()> {
        super::enter(&self.directory)
    }
}

impl Drop for Lobby {
    /// By the command, when the helper has ended: what is in it now was never
    /// meant to be.
    fn drop(&mut self) {
        let _ = fs::write(self.directory.join("cgroup.kill"), "1");
        let _ = super::remove(&self.directory, PATIENCE);
    }
}
