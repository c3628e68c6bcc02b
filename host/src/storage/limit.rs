//! How much of a disk a guest's files may take: by a project quota of the file
//! system that they lie on, or by the length of their image.
//!
//! A guest can't leave its project: inside a user namespace the kernel lets
//! nobody change one (fs/file_attr.c, `fileattr_set_prepare`).

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Timespec, Timestamps};

use crate::config::{Files, Place};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::plan::Disk;
use crate::sys::quota::{self, Quota};
use crate::tree::{Entry, Step, walk};

/// Limits the files of a guest, and where it writes if that is elsewhere.
/// Unless they are limited already, it must be down.
///
/// # Errors
/// When the file system can't do that, or an image would have to become
/// shorter.
pub fn limit(place: &Place, scratch: Option<&Path>, limit: Disk) -> Result<()> {
    if place.files == Files::Image {
        return limit.bytes.map_or(Ok(()), |bytes| lengthen(&place.root, bytes));
    }
    limit_directory(&place.root, limit)?;
    scratch.map_or(Ok(()), |scratch| limit_directory(scratch, limit))
}

/// Changes the limit of a guest that runs; false where that has to wait for its
/// next start.
///
/// # Errors
/// As [`limit`].
pub fn change_limit(place: &Place, scratch: Option<&Path>, limit: Disk) -> Result<bool> {
    if place.files == Files::Image {
        return limit.bytes.map_or(Ok(true), |bytes| lengthen(&place.root, bytes).map(|()| false));
    }
    let is_in = |root: &Path| {
        let file = File::open(root).and_then(|file| quota::project(file.as_fd()));
        limit.bytes.is_none() || file.is_ok_and(|project| project == limit.project)
    };
    if !is_in(&place.root) || !scratch.is_none_or(is_in) {
        // Does the file system count at all?
        check(&place.root, limit)?;
        return Ok(false);
    }
    self::limit(place, scratch, limit).map(|()| true)
}

fn check(root: &Path, limit: Disk) -> Result<()> {
    let directory = File::open(root).map_err(|cause| Error::path("open", root, cause))?;
    match quota::of_project(directory.as_fd(), limit.project) {
        Err(cause) if cause.raw_os_error() != Some(libc::ENOENT) => Err(lack(root, &cause)),
        _ => Ok(()),
    }
}

/// How a guest's files are limited, and how much of the disk they take. `None`
/// where they aren't counted.
pub fn limited(place: &Place, project: u32) -> Option<Quota> {
    use std::os::unix::fs::MetadataExt;
    let file = File::open(&place.root).ok()?;
    if place.files == Files::Image {
        let metadata = file.metadata().ok()?;
        return Some(Quota { limit: metadata.len(), used: metadata.blocks() * 512 });
    }
    let is_counted = quota::project(file.as_fd()).ok()? == project;
    is_counted.then(|| quota::of_project(file.as_fd(), project).ok()).flatten()
}

fn limit_directory(root: &Path, limit: Disk) -> Result<()> {
    let project = limit.project;
    let directory = match File::open(root) {
        // Whoever starts it will say so.
        Err(_) if limit.bytes.is_none() => return Ok(()),
        other => other.map_err(|cause| Error::path("open", root, cause))?,
    };
    let is_in = quota::project(directory.as_fd()).is_ok_and(|now| now == project);
    let Some(bytes) = limit.bytes else {
        if is_in {
            // Where there is no limit, it may as well not be counted.
            let _ = quota::limit_project(directory.as_fd(), project, 0);
        }
        return Ok(());
    };
    quota::limit_project(directory.as_fd(), project, bytes).map_err(|cause| lack(root, &cause))?;
    if is_in { Ok(()) } else { join(root, project) }
}

fn lack(root: &Path, cause: &io::Error) -> Error {
    let why = match cause.raw_os_error() {
        Some(libc::ESRCH | libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOTTY) => {
            "its file system keeps no project quotas".to_owned()
        }
        _ => cause.to_string(),
    };
    Error::new(format!("limits.disk can't be enforced on '{}': {why}", root.display())).hint(
        "mount ext4 or xfs with the option prjquota (ext4 needs the features quota and project), \
         or lay the guest in an image: vserver clone NAME NEW --storage image --size SIZE",
    )
}

/// Makes all files below a directory the project's. The directory itself comes
/// last: if that is one of it, all are.
fn join(root: &Path, project: u32) -> Result<()> {
    let directory = RootDir::open(root)?;
    let never = || Ok(());
    walk(&directory, &never, |step| {
        let failed = |path: &Path, cause: io::Error| directory.error("count", path, errno(&cause));
        match step {
            Step::Enter(entry, None) => file(&entry, project).map_err(|c| failed(entry.path, c)),
            Step::Enter(entry, Some(_)) if entry.path == Path::new("") => Ok(()),
            // New names in it are the project's from here on.
            Step::Enter(entry, Some(below)) => {
                quota::set_project(below, project, true).map_err(|c| failed(entry.path, c))
            }
            Step::Leave(itself, _, path) if path == Path::new("") => {
                quota::set_project(itself, project, true).map_err(|c| failed(path, c))
            }
            Step::Leave(..) | Step::Passed(..) => Ok(()),
        }
    })
}

fn errno(cause: &io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(cause).unwrap_or(rustix::io::Errno::IO)
}

/// A link has no descriptor to give to the ioctl, and one that isn't the
/// project's could not be renamed inside (ext4 and xfs say EXDEV): it is made
/// anew. Other names without content stay as they are.
fn file(entry: &Entry<'_>, project: u32) -> io::Result<()> {
    match entry.kind() {
        FileType::RegularFile => quota::set_project(entry.open()?.as_fd(), project, false),
        FileType::Symlink => anew(entry),
        _ => Ok(()),
    }
}

/// Only where new names in its directory are the project's.
fn anew(entry: &Entry<'_>) -> io::Result<()> {
    const NEW: &str = ".vserver-link";
    let target = fs::readlinkat(entry.parent, entry.name, Vec::new())?;
    let _ = fs::unlinkat(entry.parent, NEW, AtFlags::empty());
    fs::symlinkat(target, entry.parent, NEW)?;
    let stat = entry.stat;
    let (user, group) = (fs::Uid::from_raw(stat.st_uid), fs::Gid::from_raw(stat.st_gid));
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let placed = fs::chownat(entry.parent, NEW, Some(user), Some(group), flags)
        .and_then(|()| fs::utimensat(entry.parent, NEW, &times, flags))
        .and_then(|()| fs::renameat(entry.parent, NEW, entry.parent, OsStr::new(entry.name)));
    if placed.is_err() {
        let _ = fs::unlinkat(entry.parent, NEW, AtFlags::empty());
    }
    Ok(placed?)
}

/// Lets an image be this long; its file system grows with the next start.
fn lengthen(image: &Path, bytes: u64) -> Result<()> {
    let open = || File::options().write(true).open(image);
    let has = open().and_then(|file| Ok((file.metadata()?.len(), file)));
    let (has, file) = has.map_err(|cause| Error::path("open", image, cause))?;
    let wanted = super::Size::new(bytes)
        .map_err(|why| Error::new(format!("limits.disk doesn't suit an image: {why}")))?;
    match wanted.bytes().cmp(&has) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => {
            file.set_len(wanted.bytes()).map_err(|cause| Error::path("lengthen", image, cause))
        }
        std::cmp::Ordering::Less => {
            let has = crate::config::limits::written_bytes(has);
            Err(Error::new(format!(
                "limits.disk is less than the {has} of the image '{}', which can't become shorter",
                image.display()
            ))
            .hint("make a smaller copy: vserver clone NAME NEW --storage image --size SIZE"))
        }
    }
}
