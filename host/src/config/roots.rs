//! Where guests' roots lie on the host: in no directory of the host's own, and none at
//! another guest's place, in it or around it.

use std::fs;
use std::path::{Path, PathBuf};

use shared::name::GuestName;

use super::load::{load_kept, names, text};
use super::parse::root_in;
use crate::error::Result;
use crate::paths::Paths;
use crate::runtime::RunDir;

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
    let text = text(paths, name).ok()?;
    Some(root_in(&text).unwrap_or_else(|| paths.root(name)))
}

/// Why this can't be a guest's root, as a sentence: another guest has it, or it and
/// another guest's lie in one another, by its configuration or since the boot that runs.
/// Also if vserver's own files would be in it.
///
/// Links are followed of this root, and on the way to the usual place: that of another
/// guest may be on a disk that doesn't answer.
///
/// # Errors
/// When the directory of configurations can't be read.
pub fn conflict(paths: &Paths, name: &GuestName, root: &Path) -> Result<Option<String>> {
    among(paths, name, root, root_of)
}

/// The same, but that of others only a boot that runs counts.
///
/// # Errors
/// As [`conflict`].
pub fn conflict_with_running(
    paths: &Paths,
    name: &GuestName,
    root: &Path,
) -> Result<Option<String>> {
    among(paths, name, root, |_, _| None)
}

fn among(
    paths: &Paths,
    name: &GuestName,
    root: &Path,
    configured: impl Fn(&Paths, &GuestName) -> Option<PathBuf>,
) -> Result<Option<String>> {
    let mine = [root.to_owned(), real(root)];
    let shown = root.display();
    for own in [paths.config_dir(), paths.roots_dir(), paths.state_dir(), paths.run_dir()] {
        if mine.iter().any(|mine| own.starts_with(mine)) {
            return Ok(Some(format!("'{shown}' holds vserver's own '{}'", own.display())));
        }
    }
    let usual = real(&paths.roots_dir());
    for other in names(paths)?.iter().filter(|other| *other != name) {
        let theirs = roots_of(paths, other, configured(paths, other), &usual);
        let mut pairs =
            theirs.iter().flat_map(|theirs| mine.iter().map(move |mine| (mine, theirs)));
        let found = pairs.find_map(|(mine, theirs)| {
            let at = theirs.display();
            match (mine.starts_with(theirs), theirs.starts_with(mine)) {
                (true, true) => Some(format!("'{shown}' is the root of guest '{other}'")),
                (true, false) => {
                    Some(format!("'{shown}' lies in '{at}', the root of guest '{other}'"))
                }
                (false, true) => {
                    Some(format!("'{shown}' holds '{at}', the root of guest '{other}'"))
                }
                (false, false) => None,
            }
        });
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The root that a guest's configuration names, and that of the boot that runs; each also
/// with `usual` in place of the directory where guests usually are.
fn roots_of(
    paths: &Paths,
    name: &GuestName,
    configured: Option<PathBuf>,
    usual: &Path,
) -> Vec<PathBuf> {
    let booted = load_kept(&RunDir::new(paths, name).configuration());
    let booted = booted.map(|config| config.root(paths, name));
    let both = configured.into_iter().chain(booted);
    both.flat_map(|root| {
        let followed = root.strip_prefix(paths.roots_dir()).ok().map(|rest| usual.join(rest));
        [Some(root), followed]
    })
    .flatten()
    .collect()
}

/// A path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::host;
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
    fn a_root_is_one_guests() {
        let (_directory, paths) = host(&[
            ("a.toml", "context = 7\n"),
            ("b.toml", "root = \"/srv/b\"\nwrong = 1\n"),
            ("web.toml", "root = \"/srv/b\"\n"),
        ]);
        let web = "web".parse().unwrap();
        let of = |root: &Path| conflict(&paths, &web, root).unwrap().unwrap_or_default();
        assert!(of("/srv/b".as_ref()).contains("is the root of guest 'b'"));
        assert!(of("/srv/b/".as_ref()).contains("is the root of guest 'b'"));
        assert!(of("/srv/b/srv/web".as_ref()).contains("lies in '/srv/b', the root of guest 'b'"));
        assert!(of("/srv".as_ref()).contains("holds '/srv/b', the root of guest 'b'"));
        assert!(of(&paths.root(&"a".parse().unwrap())).contains("is the root of guest 'a'"));
        assert!(of(&paths.roots_dir()).contains("vserver's own"));
        assert!(of(&paths.prefix().join("etc")).contains("vserver's own"));
        for root in ["/srv/bb", "/srv/web", "/b"] {
            assert_eq!(of(root.as_ref()), "", "{root}");
        }
        assert_eq!(of(&paths.root(&web)), "");
    }

    #[test]
    fn links_lead_to_another_guests_root() {
        let (directory, paths) = host(&[("a.toml", "context = 7\n"), ("web.toml", "")]);
        let (web, shelf) = ("web".parse().unwrap(), directory.path().join("shelf"));
        fs::create_dir_all(shelf.join("a")).unwrap();
        fs::create_dir_all(paths.roots_dir().parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&shelf, paths.roots_dir()).unwrap();
        std::os::unix::fs::symlink("a", shelf.join("link")).unwrap();
        for root in [shelf.join("a"), shelf.join("link"), shelf.join("a/not/there")] {
            assert!(conflict(&paths, &web, &root).unwrap().is_some(), "{root:?}");
        }
        assert_eq!(conflict(&paths, &web, &shelf.join("b")).unwrap(), None);
    }

    #[test]
    fn the_root_of_a_boot_counts_as_long_as_it_runs() {
        let (_directory, paths) = host(&[("a.toml", "root = \"/srv/new\"\n"), ("web.toml", "")]);
        let (web, a) = ("web".parse().unwrap(), "a".parse().unwrap());
        let kept = RunDir::new(&paths, &a).configuration();
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::write(kept, "root = \"/srv/old\"\n").unwrap();
        for (root, runs) in [("/srv/old", true), ("/srv/new", false)] {
            assert!(conflict(&paths, &web, root.as_ref()).unwrap().is_some(), "{root}");
            let found = conflict_with_running(&paths, &web, root.as_ref()).unwrap();
            assert_eq!(found.is_some(), runs, "{root}");
        }
    }
}
