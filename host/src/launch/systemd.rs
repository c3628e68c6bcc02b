//! What the systemd of a guest would do at its start, read from the guest's
//! files: data for a choice about that guest alone, whatever they say.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2, readlinkat};
use shared::family::INITS;

/// Where its `tmp.mount` is enabled (systemd.unit(5), "Unit File Load Path").
const ENABLED: [&str; 3] = [
    "etc/systemd/system/local-fs.target.wants/tmp.mount",
    "usr/lib/systemd/system/local-fs.target.wants/tmp.mount",
    "lib/systemd/system/local-fs.target.wants/tmp.mount",
];

/// Where an administrator masks it, by a link to `/dev/null`.
const MASKED: &str = "etc/systemd/system/tmp.mount";

/// Is systemd the guest's init, and would it mount a file system on /tmp (from
/// Debian 13 on it does)? Without CAP_SYS_ADMIN that fails, and the system is
/// degraded; one that is there already is what the unit wants.
pub fn wants_tmp(root: BorrowedFd<'_>) -> bool {
    is_init(root)
        && !is_masked(root)
        && ENABLED.iter().any(|path| exists(root, path))
        && is_directory(root)
}

fn is_init(root: BorrowedFd<'_>) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let open = |path| openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok();
    // As guest-init looks for it.
    let places = if exists(root, "etc/inittab") { &INITS[..1] } else { &INITS[..] };
    let path = places.iter().copied().find_map(open).and_then(|init| {
        std::fs::read_link(format!("/proc/self/fd/{}", init.as_fd().as_raw_fd())).ok()
    });
    path.is_some_and(|path| path.ends_with(Path::new("systemd/systemd")))
}

fn is_masked(root: BorrowedFd<'_>) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link = openat2(root, MASKED, flags, Mode::empty(), ResolveFlags::IN_ROOT);
    // By an empty path the link itself is read (readlink(2)).
    let to = link.and_then(|link| readlinkat(link, "", Vec::new()));
    to.is_ok_and(|to| to.as_bytes() == b"/dev/null")
}

fn exists(root: BorrowedFd<'_>, path: &str) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok()
}

/// The unit leaves a link alone.
fn is_directory(root: BorrowedFd<'_>) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(root, "tmp", flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok()
}
