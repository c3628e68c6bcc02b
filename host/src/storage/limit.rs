//! How much of a disk a guest's files may take: by a project quota of the file
//! system that they lie on, on btrfs by a quota group (`qgroup`), or by the
//! length of their image.
//!
//! A guest can't leave its project: inside a user namespace the kernel lets
//! nobody change one (fs/file_attr.c, `fileattr_set_prepare`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, OFlags};
use rustix::io::Errno;

use crate::config::{Files, Place};
use crate::error::{Error, Result};
use crate::facts::btrfs;
use crate::fsroot::RootDir;
use crate::plan::Disk;
use crate::sys::quota::{self, Quota};
use crate::tree::{self, Attributes, Entry, Step, walk};

use super::{inodes, qgroup};

/// Limits the files of a guest, and where it writes if that is elsewhere.
/// Unless they are limited already, it must be down.
///
/// # Errors
/// When the file system can't do that, or an image would have to become
/// shorter.
pub fn limit(place: &Place, scratch: Option<&Path>, disk: Disk) -> Result<()> {
    match (&place.files, disk.bytes) {
        (Files::Image, None) => return Ok(()),
        (Files::Image, Some(bytes)) => lengthen(&place.root, bytes)?,
        _ => limit_directory(&place.root, disk)?,
    }
    match scratch {
        // What is written there is not in the image.
        Some(_) if disk.may_leave && disk.bytes.is_some() => Err(Disk::not_held()),
        Some(scratch) => limit_directory(scratch, disk),
        None => Ok(()),
    }
}

/// What there is to say of a limit that was set: that it may hold at another size, or
/// leaves nothing.
pub fn doubt(place: &Place, disk: Disk) -> Option<String> {
    if place.files == Files::Image || disk.bytes.is_none() {
        return None;
    }
    let root = place.root.display();
    if let Some((most, has)) = limited(place, disk.project).and_then(|now| now.inodes)
        && most > 0
        && has >= most
    {
        return Some(format!(
            "it has {has} files and directories, and may make no more (limits.inodes)"
        ));
    }
    let is_wrong = File::open(&place.root).is_ok_and(|root| btrfs::counts_wrongly(&root));
    is_wrong.then(|| {
        format!(
            "limits.disk holds at another size: the btrfs of '{root}' says that its quotas are \
             wrong; count anew: btrfs quota rescan -w {root}"
        )
    })
}

/// Changes the limit of a guest that runs; false where that has to wait for its
/// next start.
///
/// # Errors
/// As [`limit`].
pub fn change_limit(place: &Place, scratch: Option<&Path>, disk: Disk) -> Result<bool> {
    if place.files == Files::Image {
        return disk.bytes.map_or(Ok(true), |bytes| lengthen(&place.root, bytes).map(|()| false));
    }
    if must_count(place, scratch, disk) {
        check(&place.root)?;
        return Ok(false);
    }
    limit(place, scratch, disk).map(|()| true)
}

/// Has each file to be given to the guest's project before its limit holds? That
/// takes the longer the more there are.
pub fn must_count(place: &Place, scratch: Option<&Path>, disk: Disk) -> bool {
    let root = (place.files != Files::Image).then_some(place.root.as_path());
    let is_in = |root: &Path| {
        let is_in = |file: &File| qgroup::is_btrfs(file) || is_whole(file, disk.project);
        File::open(root).is_ok_and(|file| is_in(&file))
    };
    disk.bytes.is_some() && !root.into_iter().chain(scratch).all(is_in)
}

/// Looks whether files in this directory, or in the nearest one that is there, can be
/// limited.
///
/// # Errors
/// When they can't.
pub fn can_limit(directory: &Path) -> Result<()> {
    let there = directory.ancestors().find(|directory| directory.exists());
    let there = there.unwrap_or(directory);
    if File::open(there).is_ok_and(|file| qgroup::is_btrfs(&file)) {
        return Ok(());
    }
    check(there).map(drop)
}

/// # Errors
/// When the file system holds nobody to a limit.
fn check(root: &Path) -> Result<File> {
    let directory = File::open(root).map_err(|cause| Error::path("open", root, cause))?;
    match quota::is_enforced(directory.as_fd()) {
        Ok(true) => Ok(directory),
        Ok(false) => Err(lack(root, "its file system holds no project to a limit")),
        Err(cause) => match cause.raw_os_error() {
            Some(libc::ESRCH | libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOTTY) => {
                Err(lack(root, "its file system keeps no project quotas"))
            }
            _ => Err(lack(root, &cause.to_string())),
        },
    }
}

/// How a guest's files are limited, and how much of the disk they take. `None`
/// where they aren't counted.
pub fn limited(place: &Place, project: u32) -> Option<Quota> {
    use std::os::unix::fs::MetadataExt;
    let file = File::open(&place.root).ok()?;
    if place.files == Files::Image {
        let metadata = file.metadata().ok()?;
        let (limit, used) = (metadata.len(), metadata.blocks() * 512);
        return Some(Quota { limit, used, inodes: None });
    }
    if qgroup::is_btrfs(&file) {
        return qgroup::limited(&file);
    }
    let is_counted = quota::project(file.as_fd()).ok()? == project;
    is_counted.then(|| quota::of_project(file.as_fd(), project).ok()).flatten()
}

/// Says, where no guest can say so, that all files below are its project's.
const MARK: &str = "trusted.vserver.project";

/// Are all files below a directory the project's? The directory itself is of it
/// last; but somebody who may give files to projects could have said so.
fn is_whole(directory: &File, project: u32) -> bool {
    let mut mark = [0; 16];
    let marked = fs::fgetxattr(directory, MARK, &mut mark).ok();
    let is_marked =
        marked.and_then(|length| mark.get(..length)) == Some(project.to_string().as_bytes());
    is_marked && quota::project(directory.as_fd()).is_ok_and(|now| now == project)
}

fn limit_directory(root: &Path, disk: Disk) -> Result<()> {
    let project = disk.project;
    let opened = File::open(root);
    if let Some(directory) = opened.as_ref().ok().filter(|directory| qgroup::is_btrfs(directory)) {
        return qgroup::limit(root, directory, disk.bytes);
    }
    let Some(bytes) = disk.bytes else {
        // Whoever starts a guest without a root will say so.
        let Ok(directory) = opened else { return Ok(()) };
        if disk.may_leave {
            let _ = fs::fremovexattr(&directory, MARK);
        }
        if quota::project(directory.as_fd()).is_ok_and(|now| now == project) {
            // Where there is no limit, it may as well not be counted.
            let _ = quota::limit_project(directory.as_fd(), project, 0, 0);
        }
        return Ok(());
    };
    let directory = check(root)?;
    if !is_whole(&directory, project) {
        join(root, project)?;
        fs::fsetxattr(&directory, MARK, project.to_string().as_bytes(), fs::XattrFlags::empty())
            .map_err(|cause| Error::path("mark", root, cause))?;
    }
    hold(root, &directory, disk, bytes).map_err(|cause| lack(root, &cause.to_string()))
}

fn hold(root: &Path, directory: &File, disk: Disk, bytes: u64) -> io::Result<()> {
    let now = match quota::of_project(directory.as_fd(), disk.project) {
        // There is no account yet.
        Err(cause) if cause.raw_os_error() == Some(libc::ENOENT) => None,
        other => Some(other?),
    };
    let has = now.and_then(|now| now.inodes).map_or(0, |(_, has)| has);
    let most = inodes::most(bytes, inodes::bytes_each(root)?, disk.inodes, has);
    quota::limit_project(directory.as_fd(), disk.project, bytes, most)
}

fn lack(root: &Path, why: &str) -> Error {
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
    let mut firsts = BTreeMap::new();
    walk(&directory, &never, |step| {
        let failed = |path: &Path, cause: io::Error| directory.error("count", path, errno(&cause));
        match step {
            Step::Enter(entry, None) => {
                let joined = file(&directory, &entry, project, &mut firsts);
                joined.map_err(|cause| failed(entry.path, cause))
            }
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

fn errno(cause: &io::Error) -> Errno {
    Errno::from_io_error(cause).unwrap_or(Errno::IO)
}

/// Names without content have no descriptor to give to the ioctl, and one that
/// isn't the project's could not be renamed inside, nor a whiteout of an overlay
/// be replaced (ext4 and xfs say EXDEV): they are made anew.
fn file(root: &RootDir, entry: &Entry<'_>, project: u32, firsts: &mut Firsts) -> io::Result<()> {
    if entry.kind() == FileType::RegularFile {
        return quota::set_project(entry.open()?.as_fd(), project, false);
    }
    let identity = (entry.stat.st_dev, entry.stat.st_ino);
    // Those that are left of its names are one file's still.
    if let Some(first) = firsts.get(&identity) {
        let (above, name) = root.open_parent(first)?;
        let link = |new: &str| fs::linkat(&above, name, entry.parent, new, AtFlags::empty());
        match replace(entry, link) {
            Err(Errno::MLINK) => {}
            other => return Ok(other?),
        }
    }
    if entry.stat.st_nlink > 1 {
        firsts.insert(identity, entry.path.to_owned());
    }
    Ok(replace(entry, |new| anew(entry, new))?)
}

/// Where the first name lies, made anew, of what had several, by device and inode.
type Firsts = BTreeMap<(u64, u64), PathBuf>;

/// Puts what is made by a name beside it in a name's place.
fn replace(entry: &Entry<'_>, make: impl FnOnce(&str) -> Result<(), Errno>) -> Result<(), Errno> {
    let new = format!(".vserver-{}", std::process::id());
    let placed =
        make(&new).and_then(|()| fs::renameat(entry.parent, &new, entry.parent, entry.name));
    if placed.is_err() {
        let _ = fs::unlinkat(entry.parent, &new, AtFlags::empty());
    }
    placed
}

/// In a directory in which new names are the project's.
fn anew(entry: &Entry<'_>, new: &str) -> Result<(), Errno> {
    let parent = entry.parent;
    let attributes = Attributes::read(entry.pin()?.file.as_fd())?;
    match entry.kind() {
        FileType::Symlink => {
            fs::symlinkat(fs::readlinkat(parent, entry.name, Vec::new())?, parent, new)?;
        }
        kind => fs::mknodat(parent, new, kind, fs::Mode::RUSR, entry.stat.st_rdev)?,
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(parent, new, flags, fs::Mode::empty())?;
    tree::give(file, entry.stat, &attributes).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn what_has_several_names_is_one_file_still() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("d")).unwrap();
        symlink("nowhere", path("one")).unwrap();
        symlink("nowhere", path("other")).unwrap();
        for name in ["two", "d/three"] {
            std::fs::hard_link(path("one"), path(name)).unwrap();
        }
        let inode = |name: &str| path(name).symlink_metadata().unwrap().ino();
        let before = inode("one");
        let root = RootDir::open(directory.path()).unwrap();
        let mut firsts = Firsts::new();
        walk(&root, &|| Ok(()), |step| {
            if let Step::Enter(entry, None) = step {
                file(&root, &entry, 1, &mut firsts).unwrap();
            }
            Ok(())
        })
        .unwrap();
        assert_ne!(inode("one"), before);
        assert_eq!([inode("two"), inode("d/three")], [inode("one"); 2]);
        assert_ne!(inode("other"), inode("one"));
        assert_eq!(std::fs::read_link(path("d/three")).unwrap(), Path::new("nowhere"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
    }
}
