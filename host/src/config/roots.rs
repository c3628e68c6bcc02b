//! Where guests' roots lie on the host: in no directory of the host's own.

use std::fs;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use super::parse::root_in;
use super::read::text_as_it_is;
use crate::paths::Paths;

/// Directories of every host, and those in which it keeps its own: whoever changes one
/// of them changes the host.
const OF_HOST: [&str; 41] = [
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/games",
    "usr/include",
    "usr/lib",
    "usr/lib32",
    "usr/lib64",
    "usr/libexec",
    "usr/local",
    "usr/sbin",
    "usr/share",
    "usr/src",
    "var",
    "var/cache",
    "var/lib",
    "var/log",
    "var/mail",
    "var/opt",
    "var/run",
    "var/spool",
    "var/tmp",
];

/// File systems of the kernel's, in which no directory is a guest's.
const OF_KERNEL: [&str; 3] = ["dev", "proc", "sys"];

/// Is this directory one of the host's own, whatever the host is?
pub fn is_of_host(path: &Path) -> bool {
    let Ok(path) = path.strip_prefix("/") else { return false };
    path.as_os_str().is_empty()
        || OF_HOST.iter().any(|own| path == Path::new(own))
        || OF_KERNEL.iter().any(|own| path.starts_with(own))
}

/// The root that a guest's configuration names, whatever mistakes it has else; `None`
/// for a guest without one.
pub fn root_of(paths: &Paths, name: &GuestName) -> Option<PathBuf> {
    // What waits in its place has the same root.
    let text = text_as_it_is(paths, name).ok()?;
    Some(root_in(&text).unwrap_or_else(|| paths.root(name)))
}

/// A path without links, as far as it is there.
pub fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_the_host_are_known() {
        for path in ["/", "/etc", "/etc/", "/usr/lib", "/var", "/var/lib", "/proc/1/cwd", "/home"] {
            assert!(is_of_host(path.as_ref()), "{path}");
        }
        for path in ["/vservers", "/srv/web", "/var/lib/vservers", "/home/web", "/etcetera"] {
            assert!(!is_of_host(path.as_ref()), "{path}");
        }
    }
}
