//! Copies files of packages from the host into a new root, with owners,
//! permissions, times, hard links and file capabilities. Shares their blocks
//! where the file system can.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use md5::{Digest, Md5};
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::build::{Work, kind_of};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::inventory::{Entry, Expected, Inventory};

/// File capabilities (capabilities(7)): the only extended attribute that
/// packages set.
const CAPABILITY: &str = "security.capability";

/// Copies everything in the inventory; gives the paths that were left out
/// because they are not as their packages shipped them.
pub(super) fn copy(
    host: &RootDir,
    inventory: &Inventory,
    work: &mut Work<'_>,
) -> Result<Vec<String>> {
    work.progress.files("copying", inventory.entries.len() as u64);
    work.root.create_dir_all("usr", 0o755)?;
    for (link, target) in &inventory.merged {
        work.root.create_dir_all(target, 0o755)?;
        work.root.symlink(target, link)?;
    }
    let mut copier = Copier { host, root: work.root, links: BTreeMap::new(), directories: vec![] };
    let mut left_out = Vec::new();
    for (number, (path, entry)) in inventory.entries.iter().enumerate() {
        work.interrupt.check()?;
        work.progress.at(number as u64);
        if !copier.copy(path, entry)? {
            left_out.push(path.clone());
        }
    }
    copier.finish_directories()?;
    Ok(left_out)
}

struct Copier<'a> {
    host: &'a RootDir,
    root: &'a RootDir,
    /// The first path of each file that has several, by device and inode.
    links: BTreeMap<(u64, u64), String>,
    /// Directories whose times are set last, because files still come in.
    directories: Vec<(String, Timestamps)>,
}

impl Copier<'_> {
    /// Copies one entry; false when it was left out.
    fn copy(&mut self, path: &str, entry: &Entry) -> Result<bool> {
        let source = Path::new(entry.source.as_deref().unwrap_or(path));
        // Documentation is often not unpacked at all (dpkg's path-exclude).
        let Some(stat) = self.host.stat(source)? else { return Ok(true) };
        let place = Path::new(path);
        let failed = |cause| self.root.error("create", place, cause);
        match kind_of(&stat) {
            FileType::Directory => self.directory(path, &stat).map_err(failed)?,
            FileType::Symlink if entry.is_parent => self.root.create_dir_all(place, 0o755)?,
            FileType::Symlink => self.symlink(source, place, &stat)?,
            FileType::RegularFile => return self.file(source, path, &stat, &entry.expected),
            _ => {}
        }
        Ok(true)
    }

    fn directory(&mut self, path: &str, stat: &Stat) -> Result<(), Errno> {
        let (parent, name) = self.root.open_parent(Path::new(path))?;
        match fs::mkdirat(&parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(cause) => return Err(cause),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = self.root.open_at(Path::new(path), flags, Mode::empty())?;
        fs::fchown(&directory, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        fs::fchmod(&directory, Mode::from_raw_mode(stat.st_mode))?;
        self.directories.push((path.to_owned(), times(stat)));
        Ok(())
    }

    fn symlink(&self, source: &Path, place: &Path, stat: &Stat) -> Result<()> {
        let Some(target) = self.host.read_link(source)? else { return Ok(()) };
        self.make_parent(place)?;
        self.root.symlink(&target, place)?;
        let owned = self.root.open_parent(place).and_then(|(parent, name)| {
            let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            fs::chownat(&parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            fs::utimensat(&parent, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
        });
        owned.map_err(|cause| self.root.error("create", place, cause))
    }

    /// A regular file; false when it isn't what its package shipped.
    fn file(
        &mut self,
        source: &Path,
        path: &str,
        stat: &Stat,
        expected: &Expected,
    ) -> Result<bool> {
        let place = Path::new(path);
        let failed = |cause: io::Error| Error::path("write", &self.root.shown(place), cause);
        if *expected == Expected::Nothing {
            return Ok(false);
        }
        self.make_parent(place)?;
        let (parent, name) = self.root.open_parent(place).map_err(|cause| failed(cause.into()))?;
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&identity)
        {
            self.link(first, &parent, name).map_err(|cause| failed(cause.into()))?;
            return Ok(true);
        }
        let Some(mut from) = self.host.open_file(source)? else { return Ok(true) };
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = fs::openat(&parent, name, flags, Mode::RUSR).map_err(|c| failed(c.into()))?;
        let mut to = File::from(to);
        copy_bytes(&mut from, &mut to).map_err(failed)?;
        if let Expected::Md5(md5) = expected
            && sum(&mut to).map_err(failed)? != *md5
        {
            fs::unlinkat(&parent, name, AtFlags::empty()).map_err(|c| failed(c.into()))?;
            return Ok(false);
        }
        copy_metadata(&from, &to, stat).map_err(|cause| failed(cause.into()))?;
        if stat.st_nlink > 1 {
            self.links.insert(identity, path.to_owned());
        }
        Ok(true)
    }

    fn link(&self, first: &str, parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        let (first_parent, first_name) = self.root.open_parent(Path::new(first))?;
        fs::linkat(&first_parent, first_name, parent, name, AtFlags::empty())
    }

    /// Packages list their directories; this is for those that don't.
    fn make_parent(&self, place: &Path) -> Result<()> {
        match place.parent() {
            Some(parent) if !self.root.is_dir(parent) => self.root.create_dir_all(parent, 0o755),
            _ => Ok(()),
        }
    }

    fn finish_directories(&self) -> Result<()> {
        for (path, times) in self.directories.iter().rev() {
            let place = Path::new(path);
            self.root
                .open_parent(place)
                .and_then(|(dir, name)| fs::utimensat(&dir, name, times, AtFlags::SYMLINK_NOFOLLOW))
                .map_err(|cause| self.root.error("set the times of", place, cause))?;
        }
        Ok(())
    }
}

/// Owner first: changing it takes set-user-id bits and capabilities away.
fn copy_metadata(from: &File, to: &File, stat: &Stat) -> Result<(), Errno> {
    fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    let mut value = [0u8; 64];
    match fs::fgetxattr(from, CAPABILITY, &mut value) {
        Ok(length) => {
            let value = value.get(..length).unwrap_or_default();
            fs::fsetxattr(to, CAPABILITY, value, XattrFlags::empty())?;
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
        Err(cause) => return Err(cause),
    }
    fs::futimens(to, &times(stat))
}

fn times(stat: &Stat) -> Timestamps {
    let modified = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or_default(),
    };
    Timestamps { last_access: modified, last_modification: modified }
}

/// Shares the blocks (ioctl_ficlone(2)), else lets the kernel copy
/// (copy_file_range(2)), else copies by hand.
fn copy_bytes(from: &mut File, to: &mut File) -> io::Result<()> {
    if fs::ioctl_ficlone(&*to, &*from).is_ok() {
        return Ok(());
    }
    loop {
        match fs::copy_file_range(&*from, None, &*to, None, 1 << 30) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            // Other file systems, or one that can't: go on where it stopped.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => break,
            Err(cause) => return Err(cause.into()),
        }
    }
    io::copy(from, to)?;
    to.flush()
}

/// The MD5 sum of a file that was just written, in hexadecimal.
fn sum(file: &mut File) -> io::Result<String> {
    io::Seek::rewind(file)?;
    let mut sum = Md5::new();
    let mut buffer = vec![0u8; 128 * 1024];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            let digest = sum.finalize();
            return Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        sum.update(buffer.get(..length).unwrap_or_default());
    }
}
