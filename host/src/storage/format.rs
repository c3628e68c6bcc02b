//! File systems in images: how one is made, and what its superblock says.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// The least that an ext4 with a distribution is worth: 16 MiB.
const LEAST: u64 = 16 << 20;

/// The least that mkfs.xfs makes one of (mkfs.xfs(8), 5.19 and later).
const LEAST_XFS: u64 = 300 << 20;

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

/// An image that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blank {
    size: Size,
    is_xfs: bool,
}

impl Blank {
    /// One of ext4(5).
    pub fn ext4(size: Size) -> Self {
        Self { size, is_xfs: false }
    }

    /// One of xfs(5).
    ///
    /// # Errors
    /// When it is too small.
    pub fn xfs(size: Size) -> Result<Self> {
        if size.0 < LEAST_XFS {
            let least = LEAST_XFS >> 20;
            let text = format!("an image with xfs has {least} MiB at least, a '--size {least}M'");
            return Err(Error::usage(text).hint("smaller ones have ext4: '--filesystem ext4'"));
        }
        Ok(Self { size, is_xfs: true })
    }

    /// One of the file system that is in another image, if one of it can be made.
    ///
    /// # Errors
    /// When the image can't be read; when it is too small.
    pub fn like(size: Size, image: &Path) -> Result<Self> {
        let kind = File::open(image).and_then(|file| Kind::of(&file));
        match kind.map_err(|cause| Error::path("read", image, cause))? {
            Some(Kind::Xfs) => Self::xfs(size),
            _ => Ok(Self::ext4(size)),
        }
    }

    /// Its size.
    pub(super) fn size(self) -> Size {
        self.size
    }

    /// What will be in it.
    pub(super) fn kind(self) -> Kind {
        if self.is_xfs { Kind::Xfs } else { Kind::Ext4 }
    }

    /// Makes the file system in a file of that size, by the host's program; it
    /// keeps quotas, if that is a question of how it is made.
    pub(super) fn write(self, path: &Path, with_quotas: bool) -> Result<()> {
        let (program, package) = match self.is_xfs {
            true => ("mkfs.xfs", "xfsprogs"),
            false => ("mkfs.ext4", "e2fsprogs"),
        };
        let mut mkfs = Command::new(program);
        match self.is_xfs {
            true => mkfs.args(["-q", "-f", "-s", "size=4096"]),
            false => mkfs.args(options_of_ext4(with_quotas)),
        };
        let output = mkfs.arg("--").arg(path).stdin(Stdio::null()).output();
        let output = output.map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => {
                let instead = match self.is_xfs {
                    true => "leave '--filesystem xfs' out: then it is ext4",
                    false => "leave '--storage image' out",
                };
                Error::new(format!("cannot make an image without '{program}'"))
                    .hint(format!("apt-get install {package}, or {instead}"))
            }
            _ => Error::os(format_args!("cannot run '{program}'"), cause),
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it has failed");
        let path = path.display();
        Err(Error::new(format!("cannot make a file system in '{path}': {program}: {last}")))
    }
}

/// As mke2fs(8) has them. Blocks are no smaller in small ones: a disk, or a file
/// that shares blocks, may be read in these only.
fn options_of_ext4(with_quotas: bool) -> Vec<String> {
    // Nothing is kept back for the host's root, and no work is left to a
    // kernel thread: a copy of an image that is at rest is whole.
    let extended = "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0";
    let (features, extended) = match with_quotas {
        true => ("quota", format!("{extended},quotatype=usrquota")),
        false => ("^quota", extended.to_owned()),
    };
    ["-q", "-F", "-m", "0", "-b", "4096", "-O", features, "-E", &extended].map(str::to_owned).into()
}

/// What can be in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// ext4(5).
    Ext4,
    /// xfs(5).
    Xfs,
    /// btrfs(5).
    Btrfs,
}

/// File systems by what stands in them: where, what; see magic(5)'s tables and
/// the kernel's linux/magic.h.
const KINDS: [(Kind, u64, &[u8]); 3] = [
    (Kind::Ext4, 0x438, b"\x53\xef"),
    (Kind::Xfs, 0, b"XFSB"),
    (Kind::Btrfs, 0x1_0040, b"_BHRfS_M"),
];

impl Kind {
    /// What is in a file, if it is known here.
    pub(super) fn of(file: &File) -> io::Result<Option<Self>> {
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

    /// The kernel's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Does it keep quotas of users, in files that nobody sees?
    pub(super) fn keeps_quotas(self, file: &File) -> io::Result<bool> {
        match self {
            // `RO_COMPAT_QUOTA` (Documentation/filesystems/ext4, "Super Block").
            Self::Ext4 => Ok(u32::from_le_bytes(read(file, 1024 + 0x64)?) & 0x100 != 0),
            // `sb_qflags`: `XFS_UQUOTA_ENFD` (fs/xfs/libxfs/xfs_log_format.h),
            // as long as it isn't mounted without that.
            Self::Xfs => Ok(u16::from_be_bytes(read(file, 176)?) & 0x2 != 0),
            Self::Btrfs => Ok(false),
        }
    }

    /// The least that it reads at a time, in bytes, if that can be little.
    pub(super) fn unit(self, file: &File) -> io::Result<Option<u32>> {
        match self {
            Self::Ext4 => {
                let extent = self.extent(file)?;
                Ok(extent.and_then(|extent| u32::try_from(extent.block).ok()))
            }
            // `sb_sectsize` (fs/xfs/libxfs/xfs_format.h).
            Self::Xfs => Ok(Some(u16::from_be_bytes(read(file, 102)?).into())),
            Self::Btrfs => Ok(None),
        }
    }

    /// How much of the file it has; none of what doesn't grow here.
    pub(super) fn extent(self, file: &File) -> io::Result<Option<Extent>> {
        let mut superblock = [0; 1024];
        let (at, told): (_, fn(&[u8; 1024]) -> Extent) = match self {
            Self::Ext4 => (1024, Extent::of_ext4),
            Self::Xfs => (0, Extent::of_xfs),
            Self::Btrfs => return Ok(None),
        };
        file.read_exact_at(&mut superblock, at)?;
        Ok(Some(told(&superblock)))
    }
}

/// How much of a file its file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// So many blocks.
    pub(super) blocks: u64,
    /// Bytes of one.
    block: u64,
    /// xfs: blocks of a group but the last, which has [`LEAST_OF_GROUP`] at
    /// least.
    group: Option<u64>,
    /// xfs: the share of it that may be inodes, in percent.
    pub(super) inodes: Option<u32>,
}

/// `XFS_MIN_AG_BLOCKS` (fs/xfs/libxfs/xfs_types.h).
const LEAST_OF_GROUP: u64 = 64;

impl Extent {
    /// Documentation/filesystems/ext4, "Super Block".
    fn of_ext4(superblock: &[u8; 1024]) -> Self {
        let number = |at| u64::from(u32::from_le_bytes(field(superblock, at)));
        let is_64bit = number(0x60) & 0x80 != 0;
        let high = if is_64bit { number(0x150) << 32 } else { 0 };
        let (blocks, block) = (high | number(0x04), 1024 << number(0x18).min(6));
        Self { blocks, block, group: None, inodes: None }
    }

    /// `struct xfs_dsb` (fs/xfs/libxfs/xfs_format.h).
    fn of_xfs(superblock: &[u8; 1024]) -> Self {
        let number = |at| u64::from(u32::from_be_bytes(field(superblock, at)));
        let [inodes] = field(superblock, 127);
        Self {
            blocks: u64::from_be_bytes(field(superblock, 8)),
            block: number(4).max(512),
            group: Some(number(84)),
            inodes: Some(inodes.into()),
        }
    }

    /// Its bytes.
    pub(super) fn bytes(self) -> u64 {
        self.blocks.saturating_mul(self.block)
    }

    /// The most blocks that it can have in so many bytes.
    pub(super) fn within(self, bytes: u64) -> u64 {
        let blocks = bytes / self.block;
        match self.group.and_then(|group| blocks.checked_rem(group)) {
            Some(last) if last < LEAST_OF_GROUP => blocks - last,
            _ => blocks,
        }
    }
}

fn read<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn field<const N: usize>(superblock: &[u8; 1024], at: usize) -> [u8; N] {
    let bytes = superblock.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    bytes.unwrap_or([0; N])
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
    fn an_xfs_has_its_least_size() {
        assert!(Blank::xfs(Size(LEAST_XFS)).is_ok_and(|blank| blank.kind() == Kind::Xfs));
        let refused = Blank::xfs(Size(LEAST_XFS - 4096)).unwrap_err().to_string();
        assert!(refused.contains("300 MiB"), "{refused}");
    }

    #[test]
    fn file_systems_are_told_by_their_marks() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Kind::of(&file).unwrap(), None);
        file.write_all_at(b"\x53\xef", 0x438).unwrap();
        assert_eq!(Kind::of(&file).unwrap(), Some(Kind::Ext4));
        file.write_all_at(b"\0\0", 0x438).unwrap();
        file.write_all_at(b"XFSB", 0).unwrap();
        assert_eq!(Kind::of(&file).unwrap(), Some(Kind::Xfs));
    }

    #[test]
    fn an_ext4_says_how_many_blocks_it_has() {
        let mut superblock = [0; 1024];
        superblock[0x04..0x08].copy_from_slice(&5u32.to_le_bytes());
        superblock[0x18] = 2;
        superblock[0x150] = 1;
        let of = |superblock: &[u8; 1024]| {
            let extent = Extent::of_ext4(superblock);
            (extent.blocks, extent.block)
        };
        assert_eq!(of(&superblock), (5, 4096));
        superblock[0x60] = 0x80;
        assert_eq!(of(&superblock), ((1 << 32) + 5, 4096));
    }

    #[test]
    fn the_last_group_of_an_xfs_is_large_enough() {
        let mut superblock = [0; 1024];
        superblock[4..8].copy_from_slice(&4096u32.to_be_bytes());
        superblock[8..16].copy_from_slice(&3000u64.to_be_bytes());
        superblock[84..88].copy_from_slice(&1000u32.to_be_bytes());
        superblock[127] = 25;
        let extent = Extent::of_xfs(&superblock);
        assert_eq!((extent.bytes(), extent.inodes), (3000 * 4096, Some(25)));
        let within = |blocks: u64| extent.within(blocks * 4096 + 4095);
        assert_eq!([3000, 3063, 3064, 4001].map(within), [3000, 3000, 3064, 4000]);
    }
}
