//! Stops a guest's processes where they are, and lets them go on
//! (cgroup v2 kernel doc, `cgroup.freeze`; Linux 5.2, no controller needed).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{GuestCgroup, ignore_missing};

impl GuestCgroup {
    /// Has the kernel freeze every process of the guest and of its sessions,
    /// also those that are made meanwhile, or thaw them. Not the keeper, which
    /// has to answer. The kernel takes its time: [`GuestCgroup::is_frozen`].
    ///
    /// # Errors
    /// Those of write(2); a cgroup that is not there is no error.
    pub fn freeze(&self, boot: u32, freeze: bool) -> io::Result<()> {
        let write = |directory: PathBuf, word| {
            ignore_missing(fs::write(directory.join("cgroup.freeze"), word))
        };
        let word = if freeze { "1" } else { "0" };
        write(self.limited(boot), word)?;
        write(self.session(), word)?;
        // A root with the host's ids may have frozen its own.
        if freeze { Ok(()) } else { write(self.inner(boot), word) }
    }

    /// Has it been told to be frozen? It may not be yet.
    pub fn is_to_freeze(&self, boot: u32) -> bool {
        let word = fs::read_to_string(self.limited(boot).join("cgroup.freeze"));
        word.is_ok_and(|word| word.trim() == "1")
    }

    /// Are all processes frozen?
    pub fn is_frozen(&self, boot: u32) -> bool {
        Self::stands_still(&self.limited(boot))
    }

    /// Are all processes of this cgroup frozen, be it with one above it?
    pub fn stands_still(directory: &Path) -> bool {
        let events = fs::read_to_string(directory.join("cgroup.events"));
        events.is_ok_and(|events| events.lines().any(|line| line == "frozen 1"))
    }
}
