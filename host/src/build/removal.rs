//! Removes a guest's root: out of sight at once, then file by file.
//!
//! The rename makes the guest disappear whole, however long the rest takes;
//! what a killed removal leaves, the next build or removal sweeps away.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use shared::name::GuestName;

use crate::config;
use crate::error::{Error, Result};

use super::workspace::{self, Leftovers, Workspace};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::way;

/// A root that was moved out of its place and waits for its removal.
#[derive(Debug)]
pub struct Doomed {
    workspace: Workspace,
    /// Where it was.
    was: PathBuf,
    /// What killed ones have left of the same guest.
    left: Option<Leftovers>,
}

impl Doomed {
    /// Moves a guest's root out of its place; `None` when there is none. One that is
    /// a symbolic link goes with what it leads to. The caller holds the guest's lock.
    ///
    /// # Errors
    /// When something is mounted on it or below it, or the system refuses.
    /// The root is where it was then.
    pub fn take(root: &Path, guest: &GuestName) -> Result<Option<Self>> {
        let real = real(root, || format!("cannot remove '{}'", root.display()))?;
        let doomed = Self::take_name(&real, guest)?;
        if real == root {
            return Ok(doomed);
        }
        // The last: as long as it is there, what it leads to is found again.
        std::fs::remove_file(root).map_err(|cause| {
            if let Some(doomed) = &doomed {
                let _ = std::fs::rename(doomed.workspace.root(), &doomed.was);
            }
            Error::path("remove", root, cause)
        })?;
        Ok(doomed)
    }

    fn take_name(root: &Path, guest: &GuestName) -> Result<Option<Self>> {
        let failed = |cause: std::io::Error| Error::path("remove", root, cause);
        let (Some(parent), true) = (root.parent(), root.file_name().is_some()) else {
            return Err(failed(Errno::INVAL.into()));
        };
        let is_there = |path: &Path| match path.symlink_metadata() {
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(false),
            other => other.map(|_| true).map_err(failed),
        };
        if !is_there(root)? {
            // A removal that was cut short may have moved it.
            if is_there(parent)? {
                remove_left(Leftovers::of(parent, guest)?)?;
            }
            return Ok(None);
        }
        let workspace = Workspace::for_removal(parent, guest)?;
        match std::fs::rename(root, workspace.root()) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            other => {
                other.map_err(failed)?;
                let left = Leftovers::of(parent, guest).ok();
                Ok(Some(Self { workspace, was: root.to_owned(), left }))
            }
        }
    }

    /// Removes it, file by file, and then what killed ones have left of the guest beside
    /// it, as far as that can be.
    ///
    /// # Errors
    /// When the system refuses; what is left is swept away by the next build.
    pub fn remove(self) -> Result<()> {
        let root = self.workspace.root();
        workspace::remove_path(&root).map_err(|cause| Error::path("remove", &root, cause))?;
        drop(self.workspace);
        let _ = self.left.map(remove_left);
        Ok(())
    }
}

fn remove_left(left: Leftovers) -> Result<()> {
    left.remove(&Interrupt::default(), &mut Progress::on_terminal())
}

/// Where a guest's root is that is to be moved: what a symbolic link leads to, or
/// led to. `what` is done with it.
///
/// # Errors
/// When something is mounted on it or below it; when somebody else could have made it
/// lead there, it is a directory of the host's own, or it would take along what the link
/// to it lies in.
pub fn real(root: &Path, what: impl Fn() -> String) -> Result<PathBuf> {
    refuse_mounts(root, &what)?;
    // A removal that was cut short has left the link.
    let real = way::follow(root).map_err(|doubt| doubt.into_error(&what(), root))?;
    let named = "remove it, or name what it leads to in 'root'";
    if config::is_of_host(&real) {
        let text =
            format!("{}: it leads to '{}', a directory of the host's own", what(), real.display());
        return Err(Error::new(text).hint(named));
    }
    if !root.is_symlink() {
        return Ok(root.to_owned());
    }
    let holds = |path: &Path| std::fs::canonicalize(path).is_ok_and(|path| path.starts_with(&real));
    if holds(root.parent().unwrap_or(root)) {
        let text = format!("{}: it is a symbolic link, and lies in what it leads to", what());
        return Err(Error::new(text).hint(named));
    }
    Ok(real)
}

fn refuse_mounts(root: &Path, what: impl Fn() -> String) -> Result<()> {
    let mounts = std::fs::read("/proc/self/mountinfo")
        .map_err(|cause| Error::path("read", Path::new("/proc/self/mountinfo"), cause))?;
    // That tells where mounts are, however one comes there.
    let Ok(real) = std::fs::canonicalize(root) else { return Ok(()) };
    let Some(mount) = mount_at_or_below(&real, &mounts) else { return Ok(()) };
    let (what, mount) = (what(), mount.display());
    Err(Error::new(format!("{what}: something is mounted on '{mount}'"))
        .hint(format!("'umount {mount}' first")))
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
    use std::os::unix::fs::PermissionsExt;

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
    fn what_a_link_leads_to_goes_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let [link, far, beside] = ["web", "far", "beside"].map(|name| parent.path().join(name));
        let name = "web".parse().unwrap();
        let number = |directory: &Path| std::fs::read_dir(directory).unwrap().count();
        for target in [&far.join("big"), Path::new("far/big")] {
            std::fs::create_dir_all(far.join("big/etc")).unwrap();
            std::os::unix::fs::symlink(target, &link).unwrap();
            let doomed = Doomed::take(&link, &name).unwrap().unwrap();
            assert!(link.symlink_metadata().is_err() && !far.join("big").exists());
            doomed.remove().unwrap();
            assert_eq!(number(&far), 0);
        }
        // One that was cut short, after what it leads to has left its place.
        let left = far.join(".vserver-delete-web-1-0");
        std::fs::create_dir(&left).unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(far.join("big"), &link).unwrap();
        assert!(Doomed::take(&link, &name).unwrap().is_none());
        assert_eq!((number(&far), link.is_symlink()), (0, false));
        // And one that leads nowhere.
        std::os::unix::fs::symlink(beside.join("none"), &link).unwrap();
        assert!(Doomed::take(&link, &name).unwrap().is_none());
        assert!(!link.is_symlink());
    }

    #[test]
    fn a_link_that_could_do_harm_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let (roots, far) = (parent.path().join("roots"), parent.path().join("far"));
        std::fs::create_dir(&roots).unwrap();
        std::fs::create_dir(&far).unwrap();
        let complaint = |target: &Path, mode| {
            let link = roots.join("web");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(target, &link).unwrap();
            std::fs::set_permissions(&roots, std::fs::Permissions::from_mode(mode)).unwrap();
            let name = "web".parse().unwrap();
            let error = Doomed::take(&link, &name).unwrap_err().to_string();
            assert!(link.is_symlink() && far.exists());
            error
        };
        assert!(complaint(&far, 0o777).contains("others than root may change '"));
        for holder in [&roots, parent.path()] {
            assert!(complaint(holder, 0o700).contains("lies in what it leads to"));
        }
        // Only asked for.
        let link = parent.path().join("lib");
        std::os::unix::fs::symlink("/usr/include", &link).unwrap();
        let error = real(&link, || "no".to_owned()).unwrap_err().to_string();
        assert!(error.starts_with("no: it leads to '/usr/include', a directory"), "{error}");
    }

    #[test]
    fn mounts_are_found_through_a_link() {
        let parent = tempfile::tempdir().unwrap();
        let link = parent.path().join("link");
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        for root in [Path::new("/proc"), &link, &link.join("self/..")] {
            let error = refuse_mounts(root, || "no".to_owned()).unwrap_err().to_string();
            assert!(error.starts_with("no: something is mounted on '/proc"), "{error}");
        }
        refuse_mounts(parent.path(), || "no".to_owned()).unwrap();
        refuse_mounts(&parent.path().join("none"), || "no".to_owned()).unwrap();
    }

    #[test]
    fn a_root_goes_and_a_missing_one_is_no_mistake() {
        let parent = tempfile::tempdir().unwrap();
        let (root, name) = (parent.path().join("web"), "web".parse().unwrap());
        std::fs::create_dir_all(root.join("etc")).unwrap();
        Doomed::take(&root, &name).unwrap().unwrap().remove().unwrap();
        assert!(Doomed::take(&root, &name).unwrap().is_none());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
        // What others' killed commands have left is for the next build.
        let left =
            ["web", "big"].map(|name| parent.path().join(format!(".vserver-build-{name}-1-0")));
        for left in &left {
            std::fs::create_dir(left).unwrap();
            std::fs::set_permissions(left, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        std::fs::create_dir(&root).unwrap();
        Doomed::take(&root, &name).unwrap().unwrap().remove().unwrap();
        assert_eq!(left.map(|left| left.exists()), [false, true]);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
