//! What is kept of a boot's devices: whoever gives a running guest another one
//! has to know which it has.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::plan::devices::Given;
use crate::runtime::RunDir;

/// The devices of the boot that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its number.
    pub boot: u32,
    /// The guest's root, on the host.
    pub owner: u32,
    /// Number of the file system that its /dev is.
    pub file_system: u64,
    /// Are its devices filtered?
    pub is_filtered: bool,
    /// Is it a guest's guest, for which no node can be made?
    pub is_nested: bool,
    /// What it was given beyond what every guest has.
    pub given: Vec<Given>,
    /// Names of those of its file that were taken from this boot.
    #[serde(default)]
    pub removed: Vec<String>,
    /// Is it being given some of these? If nobody does so any more, it may
    /// lack them.
    #[serde(default)]
    pub is_under_way: bool,
}

impl Kept {
    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// Those of open(2), write(2) and rename(2).
    pub fn write(&self, run: &RunDir) -> io::Result<()> {
        let file = run.devices(self.boot);
        let temporary = file.with_extension("new");
        let text = serde_json::to_vec(self)?;
        let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &file));
        written.inspect_err(|_| drop(fs::remove_file(&temporary)))
    }

    /// What was written for this boot.
    ///
    /// # Errors
    /// Those of open(2) and read(2); EBADMSG for a damaged file; ESTALE for
    /// that of another boot.
    pub fn read(run: &RunDir, boot: u32) -> io::Result<Self> {
        let text = fs::read(run.devices(boot))?;
        let kept: Self = serde_json::from_slice(&text)
            .map_err(|_| io::Error::from_raw_os_error(libc::EBADMSG))?;
        if kept.boot == boot { Ok(kept) } else { Err(io::Error::from_raw_os_error(libc::ESTALE)) }
    }
}
