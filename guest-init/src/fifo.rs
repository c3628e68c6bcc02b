//! The FIFO `/run/initctl`, on which sysvinit's tools speak to init.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, symlink};

use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::initctl::{self, Request};

const PATH: &str = "/run/initctl";

/// Where tools of old distributions look.
const OLD_PATH: &str = "/dev/initctl";

/// The FIFO, if it could be opened.
#[derive(Debug, Default)]
pub struct Fifo {
    file: Option<File>,
    /// What was read and is no whole request yet.
    read: Vec<u8>,
}

impl Fifo {
    /// Sees to it that what is open is what `/run/initctl` leads to: creates
    /// it (0600) and opens it where that isn't so.
    pub fn reopen(&mut self) {
        if !self.is_current() {
            *self = Self { file: create(), read: Vec::new() };
        }
        if fs::symlink_metadata(OLD_PATH).is_err() {
            let _ = symlink(PATH, OLD_PATH);
        }
    }

    /// The descriptor to wait on.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(File::as_fd)
    }

    /// Takes one request; `None` when there is nothing more to take.
    pub fn read(&mut self) -> Option<Request> {
        // A writer that never stops gets its share, not all of the time.
        for _ in 0..16 {
            if let Some(request) = initctl::take(&mut self.read) {
                return Some(request);
            }
            let mut bytes = [0; initctl::SIZE];
            match self.file.as_mut()?.read(&mut bytes) {
                Ok(length) if length > 0 => self.read.extend(bytes.get(..length)?),
                Ok(_) | Err(_) => return None,
            }
        }
        None
    }

    fn is_current(&self) -> bool {
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok());
        let theirs = fs::symlink_metadata(PATH).ok();
        matches!((ours, theirs), (Some(a), Some(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
    }
}

fn create() -> Option<File> {
    let is_fifo = |data: fs::Metadata| data.file_type().is_fifo();
    if !fs::symlink_metadata(PATH).is_ok_and(is_fifo) {
        let _ = fs::remove_file(PATH);
        mkfifo(PATH, Mode::S_IRUSR | Mode::S_IWUSR).ok()?;
    }
    // For writing too, so that it never reads as ended when a writer leaves.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let file = File::options().read(true).write(true).custom_flags(flags).open(PATH).ok()?;
    file.metadata().is_ok_and(is_fifo).then_some(file)
}
