//! Directories over each other (Documentation/filesystems/overlayfs.rst): a
//! base that nobody writes to, and what differs from it.
//!
//! All is mounted with `userxattr`: in a user namespace the kernel keeps its
//! notes in `user.overlay.*`, and whoever looks at the same files from the host
//! has to read the same notes.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, fstatvfs};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::error::{Error, Result};
use crate::fsroot::RootDir;

/// Holds what differs.
pub const UPPER: &str = "upper";
/// The kernel's own, on the same file system.
pub const WORK: &str = "work";

/// Makes both directories in an empty one.
///
/// # Errors
/// When they can't be made.
pub fn make(directory: &Path) -> Result<()> {
    for (name, mode) in [(UPPER, 0o755), (WORK, 0o700)] {
        let path = directory.join(name);
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .map_err(|cause| Error::path("create directory", &path, cause))?;
    }
    Ok(())
}

/// Mounts them over each other, attached nowhere; `lower` from the top down.
///
/// # Errors
/// Those of mount(2).
pub fn merge(lower: &[&RootDir], upper: &RootDir) -> io::Result<OwnedFd> {
    let lower: Vec<String> = lower.iter().map(|root| shown(root)).collect();
    mount(&lower, &shown(upper))
}

/// The same with nothing to write to: the kernel doesn't even make
/// [`WORK`] anew.
///
/// # Errors
/// Those of mount(2).
pub fn look(lower: &[&RootDir]) -> io::Result<OwnedFd> {
    let lower: Vec<String> = lower.iter().map(|root| shown(root)).collect();
    overlay(&lower, None)
}

/// No name of such a path has to be escaped.
fn shown(root: &RootDir) -> String {
    format!("/proc/self/fd/{}", root.as_fd().as_raw_fd())
}

/// The same by paths without ':', ',' and '\'.
///
/// # Errors
/// Those of mount(2).
pub fn mount(lower: &[String], upper: &str) -> io::Result<OwnedFd> {
    overlay(lower, Some(upper))
}

fn overlay(lower: &[String], upper: Option<&str>) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let option = |key: &str, value: &str| fsconfig_set_string(context.as_fd(), key, value);
    option("source", "overlay")?;
    option("lowerdir", &lower.join(":"))?;
    if let Some(upper) = upper {
        option("upperdir", &format!("{upper}/{UPPER}"))?;
        option("workdir", &format!("{upper}/{WORK}"))?;
    }
    fsconfig_set_flag(context.as_fd(), "userxattr")?;
    fsconfig_create(context.as_fd())?;
    let mount =
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?;
    // Where the kernel finds no room for its own directory it goes on so.
    if upper.is_some() && fstatvfs(&mount)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(io::Error::from_raw_os_error(libc::EROFS));
    }
    Ok(mount)
}
