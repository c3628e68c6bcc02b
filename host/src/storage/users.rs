//! How much of an image each user of its guest may take: quotas that the file
//! system in it keeps itself (quotactl(2)).
//!
//! Numbers of users are those on the disk, which are those inside. On a file
//! system that guests share they would be one account for all guests.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstatfs, openat};

use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::sys::quota::{self, UserQuota};

use super::image;

/// More users aren't listed: a guest that has all of the host's ids can give
/// files to any number of them.
const MOST: usize = 65_536;

/// The accounts of an image that is mounted.
#[derive(Debug)]
pub struct UserQuotas(File);

impl UserQuotas {
    /// Those of the image that a guest's root is in.
    ///
    /// # Errors
    /// When the root is another file system, as with a guest that is ephemeral,
    /// or one whose PID 1 has changed its own; when the image keeps no quotas.
    pub fn open(root: &RootDir, path: &Path) -> Result<Self> {
        let failed = |cause: io::Error| Error::path("examine", path, cause);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(root, ".", flags, Mode::empty());
        let directory = File::from(directory.map_err(|cause| failed(cause.into()))?);
        // What a guest makes its root could be a directory of the host's that
        // is bound there.
        if !image::holds(&directory, path).map_err(failed)? {
            return Err(Error::new(format!(
                "what the guest sees as its root is not the image '{}'",
                path.display()
            ))
            .hint("an ephemeral guest writes elsewhere; stop it first"));
        }
        match quota::are_users_held(directory.as_fd()) {
            Ok(true) => Ok(Self(directory)),
            Ok(false) => Err(lack(path, "isn't mounted with its quotas")
                .hint("they count from the guest's next start on: vserver restart NAME")),
            Err(cause) => {
                let is_xfs = is_xfs(&directory)?;
                Err(lack(path, &format!("keeps no quotas of users ({cause})")).hint(remedy(
                    path,
                    is_xfs,
                    kernel_has_quotas(is_xfs),
                )))
            }
        }
    }

    /// Users that have files or limits, by number.
    ///
    /// # Errors
    /// Those of quotactl(2).
    pub fn all(&self) -> Result<Vec<(u32, UserQuota)>> {
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(number) = from.filter(|_| all.len() < MOST) {
            let found = quota::next_user(self.0.as_fd(), number);
            let Some((user, quota)) = found.map_err(|cause| refused("read", cause))? else { break };
            if quota != UserQuota::default() {
                all.push((user, quota));
            }
            from = user.checked_add(1).filter(|next| *next > number);
        }
        Ok(all)
    }

    /// What a user has and may have.
    ///
    /// # Errors
    /// Those of quotactl(2).
    pub fn of(&self, user: u32) -> Result<UserQuota> {
        match quota::of_user(self.0.as_fd(), user) {
            // xfs has no account yet of who has neither files nor a limit.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(UserQuota::default()),
            found => found.map_err(|cause| refused("read", cause)),
        }
    }

    /// Can this user be limited? The limits that xfs has for root are those of
    /// all users that have none, and it never holds root to them (xfs_quota(8),
    /// "limit").
    ///
    /// # Errors
    /// When it can't.
    pub fn check(&self, user: u32) -> Result<()> {
        if user > 0 || !is_xfs(&self.0)? {
            return Ok(());
        }
        let text = "root can't be limited on xfs, which takes its limits for those of all others";
        Err(Error::new(text).hint("the size of the image is the limit of all together"))
    }

    /// Gives a user other limits; what it has isn't looked at.
    ///
    /// # Errors
    /// Those of quotactl(2).
    pub fn limit(&self, user: u32, wanted: &UserQuota) -> Result<()> {
        quota::limit_user(self.0.as_fd(), user, wanted).map_err(|cause| refused("set", cause))
    }
}

/// What can be done where an image keeps no quotas, on a kernel that has some or none.
fn remedy(path: &Path, is_xfs: bool, has_some: bool) -> String {
    let path = path.display();
    match (is_xfs, has_some) {
        // With them the image couldn't be mounted any more.
        (false, false) => "this kernel has none of ext4 (CONFIG_QFMT_V2; modprobe quota_v2)".into(),
        (true, false) => "this kernel has none of xfs (CONFIG_XFS_QUOTA)".into(),
        (false, true) => format!("stop the guest, then: tune2fs -O quota '{path}'"),
        (true, true) => format!(
            "stop the guest, then mount it once: \
             mount -o loop,nouuid,uquota '{path}' /mnt && umount /mnt"
        ),
    }
}

/// Does the kernel have quotas of this file system? quotactl(2) doesn't tell: ENOSYS also
/// means that nothing in this one is counted.
fn kernel_has_quotas(is_xfs: bool) -> bool {
    if is_xfs {
        return Path::new("/proc/fs/xfs/xqmstat").exists();
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modules = Path::new("/lib/modules").join(release.trim());
    let names = |file| fs::read_to_string(modules.join(file)).unwrap_or_default();
    // As a module that is there, or was built in.
    Path::new("/sys/module/quota_v2").exists()
        || ["modules.builtin", "modules.dep"]
            .map(names)
            .iter()
            .any(|all| all.contains("/quota_v2.ko"))
}

fn is_xfs(on: &File) -> Result<bool> {
    /// `XFS_SUPER_MAGIC` (linux/magic.h).
    const XFS: u32 = 0x5846_5342;
    let about = fstatfs(on).map_err(|cause| refused("read", cause.into()))?;
    Ok(u32::try_from(about.f_type) == Ok(XFS))
}

fn lack(path: &Path, why: &str) -> Error {
    Error::new(format!("the file system in '{}' {why}", path.display()))
}

fn refused(verb: &str, cause: io::Error) -> Error {
    Error::os(format_args!("cannot {verb} quotas"), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_gets_no_quotas_that_the_kernel_lacks() {
        let remedy = |is_xfs, has_some| remedy("/v/web".as_ref(), is_xfs, has_some);
        assert!(remedy(false, true).contains("tune2fs -O quota '/v/web'"));
        assert!(remedy(true, true).contains("uquota '/v/web'"));
        for (is_xfs, needed) in [(false, "modprobe quota_v2"), (true, "CONFIG_XFS_QUOTA")] {
            let lacks = remedy(is_xfs, false);
            assert!(lacks.contains(needed) && !lacks.contains("/v/web"), "{lacks}");
        }
    }
}
