//! A file with a file system of its own, for one guest: shown by a loop device
//! that goes with the last user of the mount.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::error::{Error, Result};
use crate::sys::block;

use super::{Failed, Part};

/// How long an image is waited for whose last user has only just gone.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often another free loop device is tried when somebody was faster.
const ATTEMPTS: u32 = 64;

/// The least that an ext4 with a distribution is worth: 16 MiB.
const LEAST: u64 = 16 << 20;

/// Size of an image in bytes, a multiple of 4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u64);

impl Size {
    /// The bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// At least this many bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(bytes: u64) -> std::result::Result<Self, String> {
        if bytes < LEAST {
            return Err(format!("an image has {} MiB at least", LEAST >> 20));
        }
        let whole = bytes.checked_next_multiple_of(4096).filter(|bytes| *bytes < 1 << 53);
        whole.map(Self).ok_or_else(|| "no file is that long".to_owned())
    }
}

/// Makes an image with an empty ext4. Blocks of the disk are taken when files
/// are written.
///
/// # Errors
/// When there is no mkfs.ext4, or the file can't be made.
pub fn make(path: &Path, size: Size) -> Result<()> {
    let failed = |cause| Error::path("create", path, cause);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(path).map_err(failed)?;
    file.set_len(size.0).map_err(failed)?;
    format(path, true)?;
    // One that keeps quotas can't be mounted by a kernel without them.
    if mount(path, Purpose::Use).is_err_and(|failed| failed.part == Part::Quotas) {
        format(path, false)?;
    }
    // A last group that is too small is left out; it isn't to be asked for at
    // each start.
    let shortened = read_size(&file).and_then(|(has, block)| file.set_len(has * block));
    shortened.map_err(failed)
}

fn format(path: &Path, with_quotas: bool) -> Result<()> {
    // Nothing is kept back for the host's root, and no work is left to a
    // kernel thread: a copy of an image that is at rest is whole.
    let extended = "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0";
    let (features, extended) = match with_quotas {
        true => ("quota", format!("{extended},quotatype=usrquota")),
        false => ("^quota", extended.to_owned()),
    };
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-O", features, "-E", &extended, "--"])
        .arg(path)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => Error::new("cannot make an image without 'mkfs.ext4'")
            .hint("apt-get install e2fsprogs, or leave '--storage image' out"),
        _ => Error::os("cannot run 'mkfs.ext4'", cause),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it has failed");
    Err(Error::new(format!("cannot make a file system in '{}': mkfs.ext4: {last}", path.display())))
}

/// File systems by what stands in them: name, where, what; see magic(5)'s
/// tables and the kernel's linux/magic.h.
const KINDS: [(&str, u64, &[u8]); 3] =
    [("ext4", 0x438, b"\x53\xef"), ("xfs", 0, b"XFSB"), ("btrfs", 0x1_0040, b"_BHRfS_M")];

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

/// Mounts an image, attached nowhere.
///
/// # Errors
/// EBUSY if it stays in use, EMEDIUMTYPE if no file system is in it that is
/// known here; those of loop(4) and mount(2).
pub fn mount(path: &Path, purpose: Purpose) -> Result<OwnedFd, Failed> {
    let root = Part::Root.failed();
    let (file, kind) = claim(path).map_err(&root)?;
    let (device, node) = attach(&file).map_err(Part::LoopDevice.failed())?;
    let with_quotas = kind == "ext4" && keeps_quotas(&file).map_err(&root)?;
    let mount = mount_device(&node, kind, purpose, with_quotas).map_err(|cause| {
        // Without quotas, a kernel finds the feature or its format unknown.
        match cause.raw_os_error() {
            Some(libc::EINVAL | libc::ESRCH) if with_quotas => Part::Quotas.failed()(cause),
            _ => root(cause),
        }
    })?;
    drop(device);
    if kind == "ext4" && purpose != Purpose::Looking {
        grow(&file, &mount).map_err(Part::Growth.failed())?;
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
fn claim(path: &Path) -> io::Result<(File, &'static str)> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let kind = kind(&file)?.ok_or_else(|| io::Error::from_raw_os_error(libc::EMEDIUMTYPE))?;
    hold(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok((file, kind))
}

fn mount_device(
    node: &Path,
    kind: &str,
    purpose: Purpose,
    with_quotas: bool,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", node)?;
    if kind == "xfs" {
        // A clone has the same id.
        fsconfig_set_flag(context.as_fd(), "nouuid")?;
    }
    if with_quotas && purpose != Purpose::Looking {
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

fn kind(file: &File) -> io::Result<Option<&'static str>> {
    for (kind, at, magic) in KINDS {
        let mut found = vec![0; magic.len()];
        match file.read_exact_at(&mut found, at) {
            Ok(()) if found == magic => return Ok(Some(kind)),
            Err(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => return Err(cause),
            _ => {}
        }
    }
    Ok(None)
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

/// Has a free loop device show the file; the device, open, and its node.
fn attach(file: &File) -> io::Result<(File, PathBuf)> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    for _ in 0..ATTEMPTS {
        let number = block::free_loop_device(control.as_fd())?;
        let node = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new().read(true).write(true).open(&node)?;
        match block::attach_loop_device(device.as_fd(), file.as_fd()) {
            Err(cause) if cause.raw_os_error() == Some(libc::EBUSY) => {}
            other => return other.map(|()| (device, node)),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Lets the file system have all of a file that has become longer.
fn grow(file: &File, mount: &OwnedFd) -> io::Result<()> {
    let (has, block) = read_size(file)?;
    let wanted = file.metadata()?.len() / block;
    if wanted <= has {
        return Ok(());
    }
    // A mount that is attached nowhere has no file that is open for ioctl(2).
    let directory = File::open(format!("/proc/self/fd/{}", mount.as_raw_fd()))?;
    block::grow_ext4(directory.as_fd(), wanted)
}

/// Does an ext4 keep quotas itself, in files that nobody sees
/// (Documentation/filesystems/ext4, "Super Block": `RO_COMPAT_QUOTA`)?
fn keeps_quotas(file: &File) -> io::Result<bool> {
    let mut features = [0; 4];
    file.read_exact_at(&mut features, 1024 + 0x64)?;
    Ok(u32::from_le_bytes(features) & 0x100 != 0)
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

fn read_size(file: &File) -> io::Result<(u64, u64)> {
    let mut superblock = [0; 1024];
    file.read_exact_at(&mut superblock, 1024)?;
    Ok(size_of_ext4(&superblock))
}

/// Blocks that an ext4 has, and the size of one (Documentation/filesystems/ext4,
/// "Super Block").
fn size_of_ext4(superblock: &[u8; 1024]) -> (u64, u64) {
    let number = |at: usize| {
        let bytes = superblock.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u64::from(u32::from_le_bytes(bytes.unwrap_or_default()))
    };
    let is_64bit = number(0x60) & 0x80 != 0;
    let high = if is_64bit { number(0x150) << 32 } else { 0 };
    (high | number(0x04), 1024 << number(0x18).min(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_blocks() {
        assert_eq!(Size::new(LEAST + 1), Ok(Size(LEAST + 4096)));
        assert!(Size::new(LEAST - 1).is_err());
        assert!(Size::new(u64::MAX).is_err());
    }

    #[test]
    fn file_systems_are_told_by_their_marks() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(kind(&file).unwrap(), None);
        file.write_all_at(b"\x53\xef", 0x438).unwrap();
        assert_eq!(kind(&file).unwrap(), Some("ext4"));
        file.write_all_at(b"\0\0", 0x438).unwrap();
        file.write_all_at(b"XFSB", 0).unwrap();
        assert_eq!(kind(&file).unwrap(), Some("xfs"));
    }

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
        assert!(start.elapsed() >= PATIENCE && start.elapsed() < PATIENCE * 3);
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

    #[test]
    fn an_ext4_says_how_many_blocks_it_has() {
        let mut superblock = [0; 1024];
        superblock[0x04..0x08].copy_from_slice(&5u32.to_le_bytes());
        superblock[0x18] = 2;
        superblock[0x150] = 1;
        assert_eq!(size_of_ext4(&superblock), (5, 4096));
        superblock[0x60] = 0x80;
        assert_eq!(size_of_ext4(&superblock), ((1 << 32) + 5, 4096));
    }
}
