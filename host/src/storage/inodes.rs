//! How many files a guest may have where `limits.disk` is a project quota: an empty
//! one takes no block that would be counted, but one of the inodes, of which ext4 has a
//! fixed number and xfs makes more in space that it counts for nobody.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{statfs, statvfs};

/// Never less by itself: a small system has some thousands.
const LEAST: u64 = 10_000;

/// `XFS_SUPER_MAGIC` (linux/magic.h).
const XFS: u32 = 0x5846_5342;

/// With one inode of 512 bytes for so many, xfs gives an eighth more than the limit says.
const BYTES_OF_XFS: u64 = 4096;

/// What mke2fs(8) gives an ext4 by itself.
const USUAL: u64 = 16_384;

/// How many bytes of its file system there are for each inode: whoever has a share of the
/// ones has as large a share of the others.
///
/// # Errors
/// Those of statfs(2).
pub fn bytes_each(root: &Path) -> io::Result<u64> {
    if u32::try_from(statfs(root)?.f_type & 0xffff_ffff) == Ok(XFS) {
        return Ok(BYTES_OF_XFS);
    }
    // In the root itself the kernel shows what the project may have.
    let device = |path: &Path| fs::metadata(path).map(|of| of.dev()).ok();
    let Some(above) = root.parent().filter(|above| device(above) == device(root)) else {
        return Ok(USUAL);
    };
    let all = statvfs(above)?;
    Ok(share(all.f_blocks.saturating_mul(all.f_frsize), all.f_files))
}

fn share(bytes: u64, inodes: u64) -> u64 {
    bytes.checked_div(inodes).unwrap_or(0).max(1)
}

/// How many a guest may have that may take so many bytes: what is `wanted`, or its share;
/// but what it has already it keeps.
pub fn most(bytes: u64, each: u64, wanted: Option<u64>, has: u64) -> u64 {
    wanted.unwrap_or_else(|| (bytes / each.max(1)).max(LEAST)).max(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_has_its_share_of_the_inodes() {
        let each = share(250 << 30, 16_384_000);
        assert_eq!(each, 16_384);
        assert_eq!(most(10 << 30, each, None, 0), 655_360);
        assert_eq!(most(10 << 30, BYTES_OF_XFS, None, 0), 2_621_440);
        // All guests together have no more than there are.
        assert!(most(250 << 30, each, None, 0) <= 16_384_000);
    }

    #[test]
    fn small_ones_have_enough_and_nobody_less_than_it_has() {
        assert_eq!(most(1 << 20, 16_384, None, 7), LEAST);
        assert_eq!(most(1 << 20, 16_384, None, 60_000), 60_000);
        assert_eq!(most(10 << 30, 16_384, Some(500), 7), 500);
        assert_eq!(most(10 << 30, 16_384, Some(500), 501), 501);
    }

    #[test]
    fn a_file_system_without_a_number_of_inodes_limits_none() {
        assert_eq!(share(1 << 40, 0), 1);
        assert_eq!(most(1 << 40, 0, None, 0), 1 << 40);
    }

    #[test]
    fn a_share_is_one_of_the_file_system_above() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("root");
        fs::create_dir(&root).unwrap();
        let all = statvfs(above.path()).unwrap();
        let is_xfs = u32::try_from(statfs(&root).unwrap().f_type & 0xffff_ffff) == Ok(XFS);
        let wanted = match is_xfs {
            true => BYTES_OF_XFS,
            false => (all.f_blocks * all.f_frsize).checked_div(all.f_files).unwrap_or(1).max(1),
        };
        assert_eq!(bytes_each(&root).unwrap(), wanted);
        // A mount point has nothing above it that is of the same.
        assert_eq!(bytes_each(Path::new("/proc")).unwrap(), USUAL);
    }
}
