//! A file with a file system of its own, for one guest: shown by a loop device
//! that goes with the last user of the mount.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::error::{Error, Result};
use crate::sys::block;

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
    let file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.set_len(size.0).map_err(failed)?;
    // Nothing is kept back for the host's root, and no work is left to a
    // kernel thread: a copy of an image that is at rest is whole.
    let output = Command::new("mkfs.ext4")
        .args([
            "-q",
            "-F",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0",
        ])
        .arg("--")
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

/// Mounts an image, attached nowhere.
///
/// # Errors
/// EBUSY if a loop device shows it already, EMEDIUMTYPE if no file system is in
/// it that is known here; those of loop(4) and mount(2).
pub fn mount(path: &Path) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let kind = kind(&file)?.ok_or_else(|| io::Error::from_raw_os_error(libc::EMEDIUMTYPE))?;
    // Of two who look at the same time only one may attach it.
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    wait_until_free(&file)?;
    let (device, node) = attach(&file)?;
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", &node)?;
    if kind == "xfs" {
        // A clone has the same id.
        fsconfig_set_flag(context.as_fd(), "nouuid")?;
    }
    // What is deleted inside is free on the host.
    fsconfig_set_flag(context.as_fd(), "discard")?;
    fsconfig_create(context.as_fd())?;
    let mount =
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?;
    drop(device);
    if kind == "ext4" {
        grow(&file, &mount)?;
    }
    Ok(mount)
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

/// Waits until no loop device shows the file: two file systems in one would
/// destroy it.
fn wait_until_free(file: &File) -> io::Result<()> {
    let (metadata, start) = (file.metadata()?, Instant::now());
    while is_shown(metadata.dev(), metadata.ino())? {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Does a loop device show this file? Only those in use have a directory
/// `loop` (Documentation/ABI/testing/sysfs-block-loop).
fn is_shown(device: u64, inode: u64) -> io::Result<bool> {
    for entry in std::fs::read_dir("/sys/block")? {
        let entry = entry?;
        if !entry.path().join("loop").exists() {
            continue;
        }
        // One that goes meanwhile shows nothing.
        let Ok(node) = File::open(Path::new("/dev").join(entry.file_name())) else { continue };
        if block::file_of_loop_device(node.as_fd()).is_ok_and(|file| file == (device, inode)) {
            return Ok(true);
        }
    }
    Ok(false)
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
    let mut superblock = [0; 1024];
    file.read_exact_at(&mut superblock, 1024)?;
    let (has, block) = size_of_ext4(&superblock);
    let wanted = file.metadata()?.len() / block;
    if wanted <= has {
        return Ok(());
    }
    // A mount that is attached nowhere has no file that is open for ioctl(2).
    let directory = File::open(format!("/proc/self/fd/{}", mount.as_raw_fd()))?;
    block::grow_ext4(directory.as_fd(), wanted)
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
