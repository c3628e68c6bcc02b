//! The console's log in the host's log directory, bounded in size.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::write;

/// Appends to `NAME`, and renames it to `NAME.1` when it has grown to the
/// limit. Errors are ignored: a full disk must not stop a guest's console.
pub struct Log {
    directory: OwnedFd,
    name: String,
    limit: u64,
    file: Option<OwnedFd>,
    size: u64,
}

impl Log {
    /// A log of at most `limit` bytes a file; 0 for none.
    pub fn new(directory: OwnedFd, name: &str, limit: u64) -> Self {
        Self { directory, name: name.to_owned(), limit, file: None, size: 0 }
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.limit == 0 {
            return;
        }
        if self.size.saturating_add(bytes.len() as u64) > self.limit && self.size > 0 {
            let old = format!("{}.1", self.name);
            let renamed =
                renameat(&self.directory, self.name.as_str(), &self.directory, old.as_str());
            if renamed.is_err_and(|error| error != Errno::ENOENT) {
                // What can't be rotated doesn't grow.
                return;
            }
            self.file = None;
        }
        if self.file.is_none() {
            self.open();
        }
        if let Some(file) = &self.file {
            self.size += write(file, bytes).unwrap_or(0) as u64;
        }
    }

    fn open(&mut self) {
        let flags = OFlag::O_WRONLY
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC
            | OFlag::O_NONBLOCK;
        let mode = Mode::from_bits_truncate(0o640);
        self.file = openat(&self.directory, self.name.as_str(), flags, mode).ok();
        let status = self.file.as_ref().and_then(|file| fstat(file).ok());
        self.size = status.map_or(0, |status| u64::try_from(status.st_size).unwrap_or(0));
    }
}
