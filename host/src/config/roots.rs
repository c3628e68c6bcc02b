//! Where guests' roots lie on the host: in no directory of the host's own.

use std::fs;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use super::parse::root_in;
use super::read::text_as_it_is;
use super::storage::mentions;
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

/// Is this directory the other one, or below it, as they are written or where links lead?
pub fn lies_in(path: &Path, directory: &Path) -> bool {
    let all = [directory.to_owned(), real(directory)];
    let is_in = |path: &Path| all.iter().any(|directory| path.starts_with(directory));
    // Only if need be: it may be on a disk that doesn't answer.
    is_in(path) || is_in(&real(path))
}

/// Could this text, which can't be read as TOML or has other mistakes, name a directory
/// that lies in this one?
pub fn may_name(text: &str, directory: &Path) -> bool {
    [directory, &real(directory)].into_iter().any(|directory| mentions(text, directory))
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

    #[test]
    fn what_lies_in_a_directory_does_so_by_any_name() {
        let place = tempfile::tempdir().unwrap();
        let [shelf, link, other] = ["shelf", "link", "other"].map(|name| place.path().join(name));
        fs::create_dir_all(shelf.join("golden/v1")).unwrap();
        std::os::unix::fs::symlink(&shelf, &link).unwrap();
        for (path, directory) in
            [(&shelf, &shelf), (&link, &shelf), (&shelf, &link), (&link, &link)]
        {
            let (path, directory) = (path.join("golden/v1"), directory.join("golden"));
            assert!(lies_in(&path, &directory), "{path:?} {directory:?}");
            assert!(!lies_in(&directory, &path));
            assert!(!lies_in(&path, &other));
        }
        let text = format!("base = \"{}/golden/v1\n", shelf.display());
        assert!(may_name(&text, &link.join("golden")) && !may_name(&text, &other));
    }
}
