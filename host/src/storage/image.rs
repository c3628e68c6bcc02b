//! A file with a file system of its own, for one guest: shown by a loop device
//! that goes with the last user of the mount.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::sys::block;

use super::format::{Blank, Kind};
use super::{Failed, Part};

/// How long an image is waited for whose last user has only just gone.
const PATIENCE: Duration = Duration::from_secs(3);

/// What files can be written by past the page cache on any disk, and where they
/// share blocks (xfs since Linux 6.14).
const BLOCK: u32 = 4096;

/// How often another free loop device is tried when somebody was faster.
const ATTEMPTS: u32 = 64;

/// Makes an image with an empty file system. Blocks of the disk are taken when
/// files are written.
///
/// # Errors
/// When there is no program that makes one, or the file can't be made.
pub fn make(path: &Path, blank: Blank) -> Result<()> {
    let failed = |cause| Error::path("create", path, cause);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(path).map_err(failed)?;
    file.set_len(blank.size().bytes()).map_err(failed)?;
    blank.write(path, true)?;
    // An xfs keeps quotas from the first mount on that asks for them; an ext4
    // that does can't be mounted by a kernel without them.
    let tried = mount_with(path, Purpose::Use, Quotas::Wanted);
    let is_ext4 = blank.kind() == Kind::Ext4;
    if is_ext4 && tried.is_err_and(|failed| failed.part == Part::Quotas) {
        blank.write(path, false)?;
    }
    // A last group that is too small is left out; it isn't to be asked for at
    // each start.
    let shortened = blank.kind().extent(&file).and_then(|extent| match extent {
        Some(extent) => file.set_len(extent.bytes()),
        None => Ok(()),
    });
    shortened.map_err(failed)
}

/// What an image is mounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The guest's boot, or changes to its files.
    Use,
    /// To be filled by programs such as debootstrap, which try whether the
    /// devices work that they make.
    Building,
    /// Nothing is written. Only the journal of a guest that was cut off is
    /// replayed; that of a snapshot has been ([`settle`]).
    Looking,
}

/// Which images are mounted with quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotas {
    /// Those that keep them.
    AsKept,
    /// Any.
    Wanted,
}

/// Mounts an image, attached nowhere.
///
/// # Errors
/// EBUSY if it stays in use, EMEDIUMTYPE if no file system is in it that is
/// known here; those of loop(4) and mount(2).
pub fn mount(path: &Path, purpose: Purpose) -> Result<OwnedFd, Failed> {
    mount_with(path, purpose, Quotas::AsKept)
}

fn mount_with(path: &Path, purpose: Purpose, quotas: Quotas) -> Result<OwnedFd, Failed> {
    let root = Part::Root.failed();
    let (file, kind) = claim(path).map_err(&root)?;
    let small = kind.unit(&file).map_err(&root)?.filter(|unit| *unit < BLOCK);
    let (device, node) = attach(&file, small).map_err(Part::LoopDevice.failed())?;
    let with_quotas = quotas == Quotas::Wanted || kind.keeps_quotas(&file).map_err(&root)?;
    let mount = mount_device(&node, kind, purpose, with_quotas).map_err(|cause| {
        // Without quotas, a kernel finds the feature, the option or its format
        // unknown.
        match cause.raw_os_error() {
            Some(libc::EINVAL | libc::ESRCH) if with_quotas => Part::Quotas.failed()(cause),
            _ => root(cause),
        }
    })?;
    drop(device);
    if purpose != Purpose::Looking {
        grow(&file, kind, &mount).map_err(Part::Growth.failed())?;
    }
    Ok(mount)
}

/// Replays the journal of an image that was copied while its guest stood
/// still, or was cut off: after that, nobody who only looks changes it.
///
/// # Errors
/// As [`mount`].
pub fn settle(path: &Path) -> Result<(), Failed> {
    mount(path, Purpose::Looking).map(drop)
}

/// Has the kernel write all that it has of an image that a guest has as its root, and
/// nothing else: a guest that stands still then does so for a shorter time.
///
/// # Errors
/// Those of looking at it, and of syncfs(2).
pub fn sync(root: &RootDir, image: &Path) -> io::Result<()> {
    match of_image(root, image)? {
        Some(directory) => Ok(rustix::fs::syncfs(directory)?),
        None => Ok(()),
    }
}

/// Has the kernel write all that it has of an image whose guest stands still, and has
/// this as its root. After syncfs(2) what has changed may be in the journal alone,
/// from where it would go to its place while the image is copied. False if that is
/// another file system: then the guest writes elsewhere.
///
/// # Errors
/// Those of looking at it, and of `FIFREEZE` (ioctl_fsfreeze(2)).
pub fn flush(root: &RootDir, image: &Path) -> io::Result<bool> {
    let Some(directory) = of_image(root, image)? else { return Ok(false) };
    match block::freeze(directory.as_fd()) {
        // So one of us has left it that was killed between these two.
        Err(cause) if cause.raw_os_error() == Some(libc::EBUSY) => {}
        other => other?,
    }
    // Its guest writes nothing as long as it stands still.
    block::thaw(directory.as_fd()).map(|()| true)
}

/// Lets the file system of an image that a guest has as its root be written to, should
/// who was in [`flush`] have been killed there. False if that is nothing to be done.
///
/// # Errors
/// Those of looking at it, and of `FITHAW` (ioctl_fsfreeze(2)).
pub fn thaw(root: &RootDir, image: &Path) -> io::Result<bool> {
    let Some(directory) = of_image(root, image)? else { return Ok(false) };
    match block::thaw(directory.as_fd()) {
        Err(cause) if cause.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        other => other.map(|()| true),
    }
}

/// A root directory, open, if the image has its file system.
fn of_image(root: &RootDir, image: &Path) -> io::Result<Option<File>> {
    let image = std::fs::metadata(image)?;
    // No file system is asked that may be one of the guest's own.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(root, "", flags, StatxFlags::empty())?;
    let entry = format!("/sys/dev/block/{}:{}", found.stx_dev_major, found.stx_dev_minor);
    let Ok(device) = std::fs::read_link(&entry) else { return Ok(None) };
    let node = Path::new("/dev").join(device.file_name().unwrap_or_default());
    if !shows(Path::new(&entry), &node, (image.dev(), image.ino()))? {
        return Ok(None);
    }
    // As in `grow`.
    File::open(format!("/proc/self/fd/{}", root.as_fd().as_raw_fd())).map(Some)
}

/// Opens an image for copying, and keeps it from being mounted meanwhile.
///
/// # Errors
/// EBUSY if it stays in use; those of open(2).
pub fn open_at_rest(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    // Others may copy it, too.
    hold(&file, FlockOperation::NonBlockingLockShared)?;
    Ok(file)
}

/// Opens an image that nobody else uses; says what is in it.
fn claim(path: &Path) -> io::Result<(File, Kind)> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let kind = Kind::of(&file)?.ok_or_else(|| io::Error::from_raw_os_error(libc::EMEDIUMTYPE))?;
    hold(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok((file, kind))
}

fn mount_device(
    node: &Path,
    kind: Kind,
    purpose: Purpose,
    with_quotas: bool,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind.name(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", node)?;
    if kind == Kind::Xfs {
        // A clone has the same id.
        fsconfig_set_flag(context.as_fd(), "nouuid")?;
    }
    // An xfs that is mounted without its quotas has none from then on, even if
    // nothing else is written than what its journal holds.
    if with_quotas && (kind == Kind::Xfs || purpose != Purpose::Looking) {
        // Else users are counted and held to nothing (ext4(5)).
        fsconfig_set_flag(context.as_fd(), "usrquota")?;
    }
    // What is deleted inside is free on the host.
    let flag = if purpose == Purpose::Looking { "ro" } else { "discard" };
    fsconfig_set_flag(context.as_fd(), flag)?;
    fsconfig_create(context.as_fd())?;
    let attributes = match purpose {
        Purpose::Use => MountAttrFlags::MOUNT_ATTR_NODEV,
        Purpose::Looking => MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_RDONLY,
        Purpose::Building => MountAttrFlags::empty(),
    };
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Locks a file that no loop device shows: two file systems in one would
/// destroy it, and a copy of one that is written to is none. A device that was
/// attached here has the lock for as long as it shows the file.
fn hold(file: &File, lock: FlockOperation) -> io::Result<()> {
    let (metadata, start) = (file.metadata()?, Instant::now());
    loop {
        match rustix::fs::flock(file, lock) {
            Ok(()) if !is_shown(metadata.dev(), metadata.ino())? => return Ok(()),
            Ok(()) | Err(Errno::WOULDBLOCK) => {}
            Err(cause) => return Err(cause.into()),
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Does a loop device show this file?
fn is_shown(device: u64, inode: u64) -> io::Result<bool> {
    for entry in std::fs::read_dir("/sys/block")? {
        let entry = entry?;
        let node = Path::new("/dev").join(entry.file_name());
        if shows(&entry.path(), &node, (device, inode))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Does this block device show the file? Only loop devices in use have a
/// directory `loop` (Documentation/ABI/testing/sysfs-block-loop).
fn shows(entry: &Path, node: &Path, file: (u64, u64)) -> io::Result<bool> {
    let backing = entry.join("loop/backing_file");
    let shown = match std::fs::read(&backing) {
        // It goes just now.
        Err(cause) if cause.raw_os_error() == Some(libc::ENODEV) => return Ok(false),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match File::open(node).and_then(|node| block::file_of_loop_device(node.as_fd())) {
        Ok(found) => return Ok(found == file),
        Err(cause) if cause.raw_os_error() == Some(libc::ENXIO) => return Ok(false),
        // In a container the node may be missing, or out of reach.
        Err(_) => {}
    }
    // The path as it is seen from here: what isn't there is another file.
    let path = shown.strip_suffix(b"\n").unwrap_or(&shown);
    match std::fs::metadata(OsStr::from_bytes(path)) {
        Ok(found) => Ok((found.dev(), found.ino()) == file),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// Has a free loop device show the file; the device, open, and its node. Its
/// blocks are the kernel's choice, which may be [`BLOCK`], unless the file system
/// in it has smaller ones: then it couldn't be mounted.
fn attach(file: &File, block: Option<u32>) -> io::Result<(File, PathBuf)> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    for _ in 0..ATTEMPTS {
        let number = block::free_loop_device(control.as_fd())?;
        let node = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new().read(true).write(true).open(&node)?;
        match block::attach_loop_device(device.as_fd(), file.as_fd(), block) {
            Err(cause) if cause.raw_os_error() == Some(libc::EBUSY) => {}
            other => return other.map(|()| (device, node)),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Lets the file system have all of a file that has become longer.
fn grow(file: &File, kind: Kind, mount: &OwnedFd) -> io::Result<()> {
    let Some(extent) = kind.extent(file)? else { return Ok(()) };
    let wanted = extent.within(file.metadata()?.len());
    if wanted <= extent.blocks {
        return Ok(());
    }
    // A mount that is attached nowhere has no file that is open for ioctl(2).
    let directory = File::open(format!("/proc/self/fd/{}", mount.as_raw_fd()))?;
    match extent.inodes {
        None => block::grow_ext4(directory.as_fd(), wanted),
        Some(inodes) => block::grow_xfs(directory.as_fd(), wanted, inodes),
    }
}

/// Is a directory on the file system in an image?
pub(super) fn holds(directory: &File, image: &Path) -> io::Result<bool> {
    let (device, file) = (directory.metadata()?.dev(), std::fs::metadata(image)?);
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let entry = match std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")) {
        // None of a device.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let node = Path::new("/dev").join(entry.file_name().unwrap_or_default());
    shows(&entry, &node, (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_has_an_image_is_waited_for_but_not_for_ever() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        let first = open_at_rest(path.path()).unwrap();
        // As many copies at a time as there are; no mount.
        let second = open_at_rest(path.path()).unwrap();
        let file = File::open(path.path()).unwrap();
        let start = Instant::now();
        let refused = hold(&file, exclusive).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
        assert!(start.elapsed() >= PATIENCE && start.elapsed() < PATIENCE * 20);
        drop((first, second));
        hold(&file, exclusive).unwrap();
    }

    #[test]
    fn a_loop_device_without_a_node_is_told_by_its_file() {
        let scene = tempfile::tempdir().unwrap();
        let (image, entry) = (scene.path().join("image"), scene.path().join("loop0"));
        let node = scene.path().join("node");
        std::fs::write(&image, "").unwrap();
        std::fs::create_dir_all(entry.join("loop")).unwrap();
        let metadata = std::fs::metadata(&image).unwrap();
        let file = (metadata.dev(), metadata.ino());
        let shown = |path: &Path| {
            std::fs::write(entry.join("loop/backing_file"), format!("{}\n", path.display()))
                .unwrap();
            shows(&entry, &node, file).unwrap()
        };
        assert!(shown(&image));
        assert!(!shown(scene.path()) && !shown(&scene.path().join("gone")));
        // A node that is something else says nothing.
        std::fs::write(&node, "").unwrap();
        assert!(shown(&image));
        std::fs::remove_dir_all(entry.join("loop")).unwrap();
        assert!(!shows(&entry, &node, file).unwrap());
    }
}
