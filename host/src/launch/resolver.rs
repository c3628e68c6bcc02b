//! The guest's `/etc/resolv.conf`, where its configuration says what stands
//! there.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use crate::error::Result;
use crate::fsroot::RootDir;

const FILE: &str = "etc/resolv.conf";

/// More than one that the configuration makes.
const LONGEST: usize = 4096;

/// Writes it, if there is a text. The guest may have made any part of that path
/// a link: it is resolved inside its root, and a link in the file's place is
/// replaced. A file that says the same is left alone.
pub(super) fn write(root: BorrowedFd<'_>, text: Option<&str>) -> io::Result<()> {
    let Some(text) = text else { return Ok(()) };
    let root = RootDir::from_fd(root.try_clone_to_owned()?, "/");
    written(&root, text).map_err(|error| {
        // Who builds a guest can only tell a number.
        io::Error::from_raw_os_error(error.errno().unwrap_or(libc::EIO))
    })
}

fn written(root: &RootDir, text: &str) -> Result<()> {
    let is_file =
        root.stat(FILE)?.is_some_and(|found| FileType::from_raw_mode(found.st_mode).is_file());
    let same = || root.read(FILE, LONGEST).ok().flatten().as_deref() == Some(text.as_bytes());
    if is_file && same() {
        return Ok(());
    }
    root.create_dir_all("etc", 0o755)?;
    root.write(FILE, text.as_bytes(), 0o644)
}
