//! Removes a guest's root: out of sight at once, then file by file.
//!
//! The rename makes the guest disappear whole, however long the rest takes;
//! what a killed removal leaves, the next build or removal sweeps away.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use shared::name::GuestName;

use crate::error::{Error, Result};

use super::workspace::{self, DELETING};

/// A root that was moved out of its place and waits for its removal.
#[derive(Debug)]
pub struct Doomed {
    path: PathBuf,
    /// Tells a sweep that somebody cares for it; a file or link has none.
    _lock: Option<OwnedFd>,
}

impl Doomed {
    /// Moves a guest's root out of its place; `None` when there is none.
    ///
    /// # Errors
    /// When something is mounted on it or below it, or the system refuses.
    /// The root is where it was then.
    pub fn take(root: &Path, name: &GuestName) -> Result<Option<Self>> {
        let failed = |cause: std::io::Error| Error::path("remove", root, cause);
        let (Some(parent), true) = (root.parent(), root.file_name().is_some()) else {
            return Err(failed(Errno::INVAL.into()));
        };
        let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        if let Some(mount) = mount_at_or_below(root, &mounts) {
            let text = format!(
                "cannot remove '{}': something is mounted on '{}'",
                root.display(),
                mount.display()
            );
            return Err(Error::new(text).hint(format!("'umount {}' first", mount.display())));
        }
        let _guard = match workspace::guard(parent) {
            Err(_) if !parent.exists() => return Ok(None),
            guard => guard?,
        };
        workspace::sweep(parent)?;
        let path = parent.join(format!("{DELETING}{name}-{}", std::process::id()));
        match std::fs::rename(root, &path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        }
        let lock = workspace::lock(&path).ok().flatten();
        Ok(Some(Self { path, _lock: lock }))
    }

    /// Removes it, file by file.
    ///
    /// # Errors
    /// When the system refuses; what is left is swept away by the next build.
    pub fn remove(self) -> Result<()> {
        workspace::remove_path(&self.path).map_err(|cause| Error::path("remove", &self.path, cause))
    }
}

/// The first mount at or below a directory, from the text of mountinfo
/// (proc_pid_mountinfo(5)).
fn mount_at_or_below(directory: &Path, mountinfo: &[u8]) -> Option<PathBuf> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescaped)
        .find(|mount| mount.starts_with(directory))
}

/// Blanks and the like are written as `\ooo` in mountinfo.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digit = |byte: u8| (b'0'..=b'7').contains(&byte).then(|| u32::from(byte - b'0'));
        let code = match (first, after) {
            (b'\\', [a, b, c, ..]) => digit(*a)
                .zip(digit(*b))
                .zip(digit(*c))
                .and_then(|((a, b), c)| u8::try_from(a * 64 + b * 8 + c).ok()),
            _ => None,
        };
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_are_found_with_any_name() {
        let info = b"22 1 8:1 / / rw - ext4 x rw\n30 22 0:5 / /a/web2 rw - tmpfs x rw\n\
            31 22 0:6 / /a/web/my\\040disk rw - tmpfs x rw\n";
        let found = |path: &str| mount_at_or_below(Path::new(path), info);
        assert_eq!(found("/a/web"), Some("/a/web/my disk".into()));
        assert_eq!(found("/a/web2"), Some("/a/web2".into()));
        assert_eq!(found("/a/we"), None);
    }

    #[test]
    fn a_root_goes_and_a_missing_one_is_no_mistake() {
        let parent = tempfile::tempdir().unwrap();
        let (root, name) = (parent.path().join("web"), "web".parse().unwrap());
        std::fs::create_dir_all(root.join("etc")).unwrap();
        Doomed::take(&root, &name).unwrap().unwrap().remove().unwrap();
        assert!(Doomed::take(&root, &name).unwrap().is_none());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
