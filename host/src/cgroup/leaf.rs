//! Where the programs of sessions are: a leaf inside the guest's own cgroup.
//!
//! A guest's systemd moves logins into cgroups of their own, and a guest
//! that has guests does the same with what starts them. Inside the guest's
//! tree they may, from outside of it they may not (cgroups(7), "Delegation
//! containment").
//!
//! It is no cgroup that the guest uses: its root becomes a branch as soon as
//! a systemd runs in it, and a process that came at the wrong moment would
//! keep systemd from enabling controllers there; PID 1's has limits that are
//! meant for PID 1.
//!
//! What lies in the guest's tree is the guest's root's to remove, replace,
//! fill and freeze. Nothing can be moved out of the tree, though, so whatever
//! is opened here is below the outer cgroup, with its programs and limits.
//! Programs that can't be there are `beside` it: under the guest's limits all
//! the same, and out of its reach.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

use super::{GuestCgroup, INSIDE, ROOT};

/// Its name.
const LEAF: &str = "vserver-session";

/// The name of the host's leaf for what isn't in it.
const BESIDE: &str = "beside";

/// Of so many processes, how many are left to sessions alone, for a shell and
/// what it starts. Where the guest has all but fewer than that, it is full.
pub fn reserve(most: u64) -> u64 {
    32.min(most / 8)
}

impl GuestCgroup {
    /// Is this a process of the guest's?
    pub fn has(&self, pid: i32) -> bool {
        let lies_in = fs::read(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        self.limited_named_by(&lies_in).is_some()
    }

    /// The cgroup with the limits of the boot that the text of
    /// `/proc/PID/cgroup` (cgroups(7)) says the process is of. Names of cgroups
    /// further down are the guest's, and any bytes.
    pub fn limited_named_by(&self, text: &[u8]) -> Option<PathBuf> {
        let path = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
        let path = self.mount.join(OsStr::from_bytes(path));
        let first = path.strip_prefix(&self.outer).ok()?.iter().next()?;
        first.as_bytes().starts_with(b"guest-").then(|| self.outer.join(first))
    }
}

/// The inner cgroup under the limits of a boot.
pub fn inner(limited: &Path) -> PathBuf {
    limited.join(INSIDE).join(ROOT)
}

/// The host's leaf under the same limits.
pub fn beside(limited: &Path) -> PathBuf {
    limited.join(BESIDE)
}

/// Is there no room for more processes in this inner cgroup? (`pids.max` above
/// it; false where the host doesn't limit them.)
pub fn is_full(inner: &Path) -> bool {
    let inside = inner.parent().unwrap_or(inner);
    let number = |file: &str| -> Option<u64> {
        fs::read_to_string(inside.join(file)).ok()?.trim().parse().ok()
    };
    match (number("pids.current"), number("pids.max")) {
        (Some(current), Some(max)) => current.saturating_add(reserve(max)) > max,
        _ => false,
    }
}

/// Opens a cgroup of the host's, made if it isn't there: a process that writes
/// "0" to the descriptor is in it.
///
/// # Errors
/// Those of mkdir(2) and open(2).
pub fn open(directory: &Path) -> io::Result<OwnedFd> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    Ok(fs::File::options().write(true).open(directory.join("cgroup.procs"))?.into())
}

/// Opens the leaf in this inner cgroup in the same way, made if it isn't there.
///
/// # Errors
/// Those of mkdir(2), EAGAIN where the guest has filled its tree; those of
/// openat2(2).
pub fn open_leaf(inner: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inner = rustix::fs::open(inner, flags, Mode::empty())?;
    match mkdirat(&inner, LEAF, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = Path::new(LEAF).join("cgroup.procs");
    Ok(openat2(&inner, &file, flags, Mode::empty(), resolve)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_the_boots_cgroup() {
        let cgroup = GuestCgroup {
            mount: "/sys/fs/cgroup/unified".into(),
            outer: "/sys/fs/cgroup/unified/vserver/web".into(),
            top: "/sys/fs/cgroup/unified/vserver".into(),
        };
        let one = Some("/sys/fs/cgroup/unified/vserver/web/guest-1".into());
        for (text, limited) in [
            (&b"0::/vserver/web/guest-1/inside/root\n"[..], &one),
            (b"1:name=systemd:/\n0::/vserver/web/guest-1/inside/root/init.scope\n", &one),
            (b"0::/vserver/web/guest-1/inside/root/\xff (deleted)\n", &one),
            (b"0::/vserver/web/session\n", &None),
            (b"0::/vserver/web\n", &None),
            (b"0::/vserver/webmail/guest-1\n", &None),
            (b"0::/\n", &None),
            (b"", &None),
        ] {
            assert_eq!(&cgroup.limited_named_by(text), limited, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_guest_is_full_before_its_limit() {
        let limited = tempfile::tempdir().unwrap();
        let full = |current: &str, max: &str| {
            fs::write(limited.path().join("pids.current"), current).unwrap();
            fs::write(limited.path().join("pids.max"), max).unwrap();
            is_full(&limited.path().join(ROOT))
        };
        assert!(full("8192\n", "8192\n"));
        assert!(full("8190\n", "8192\n"));
        assert!(!full("10\n", "8192\n"));
        assert!(!full("10\n", "20\n"));
        assert!(full("19\n", "20\n"));
        assert!(!full("10\n", "max\n"));
        assert!(!is_full(Path::new("/nonexistent")));
    }
}
