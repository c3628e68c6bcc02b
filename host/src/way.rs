//! Where a path leads that only root has a say in: whoever else can change a link or a
//! directory on the way could have anything of the host's taken for a guest's.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::error::Error;

/// Links that are followed at most, as many as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Why it isn't known for good where a path leads.
#[derive(Debug)]
pub enum Doubt {
    /// Others may change this directory, or have made this link.
    Others(PathBuf),
    /// It can't be told.
    Failed(io::Error),
}

impl Doubt {
    /// As what ends something that was to be done with what is at a path.
    pub fn into_error(self, what: &str, path: &Path) -> Error {
        let path = path.display();
        match self {
            Self::Others(thing) => Error::new(format!(
                "{what}: others than root may change '{}', by which '{path}' is found",
                thing.display()
            ))
            .hint("have only root change that (chown -h root, chmod go-w), or use another place"),
            Self::Failed(cause) => Error::new(format!("{what}: cannot find '{path}': {cause}")),
        }
    }
}

/// Follows all links on the way and at the end, as far as something is there. All on the
/// way is root's, and the end as well if it is a link, and nobody else can put something
/// in its place.
///
/// # Errors
/// When that isn't so, or can't be told.
pub fn follow(path: &Path) -> Result<PathBuf, Doubt> {
    let mut ahead = names(&std::path::absolute(path).map_err(Doubt::Failed)?);
    let (mut here, mut links) = (PathBuf::from("/"), 0);
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        if look(&here)?.is_some_and(|about| !is_closed(&about)) {
            return Err(Doubt::Others(here));
        }
        let next = here.join(name);
        let about = look(&next)?;
        let is_link = about.as_ref().is_some_and(Metadata::is_symlink);
        let is_on_the_way = is_link || !ahead.is_empty();
        if is_on_the_way && about.is_some_and(|about| !is_roots(&about)) {
            return Err(Doubt::Others(next));
        }
        if !is_link {
            here = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Doubt::Failed(Errno::LOOP.into()));
        }
        let target = fs::read_link(&next).map_err(Doubt::Failed)?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        for name in names(&target).into_iter().rev() {
            ahead.push_front(name);
        }
    }
    Ok(here)
}

fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    names.collect()
}

/// What is there, if something is.
fn look(path: &Path) -> Result<Option<Metadata>, Doubt> {
    match path.symlink_metadata() {
        Ok(about) => Ok(Some(about)),
        Err(cause)
            if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(cause) => Err(Doubt::Failed(cause)),
    }
}

/// Is it root's, or of whoever runs this?
fn is_roots(about: &Metadata) -> bool {
    [0, geteuid().as_raw()].contains(&about.uid())
}

/// Can nobody but its owner put something else in the place of what is in a directory
/// (inode(7))? Root's group counts as root.
fn is_closed(about: &Metadata) -> bool {
    let mode = Mode::from_raw_mode(about.mode());
    let others = if about.gid() == 0 { Mode::WOTH } else { Mode::WGRP | Mode::WOTH };
    !mode.intersects(others) || mode.contains(Mode::SVTX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    #[test]
    fn nobody_else_has_a_say_in_where_a_path_leads() {
        let place = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(place.path()).unwrap();
        let [shelf, bobs, secret] = ["shelf", "bobs", "secret"].map(|name| top.join(name));
        for path in [&shelf, &bobs.join("web"), &secret.join("web")] {
            fs::create_dir_all(path).unwrap();
        }
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for path in [&shelf, &bobs, &secret] {
            mode(path, 0o755);
        }
        let [web, far] = [shelf.join("web"), bobs.join("far")];
        symlink("../bobs/far", &web).unwrap();
        symlink(&secret, &far).unwrap();
        assert_eq!(follow(&web).unwrap(), secret);
        assert_eq!(follow(&web.join("web/../none/x")).unwrap(), secret.join("none/x"));
        // Another one can exchange the second link, though neither the first one nor
        // what it leads to.
        let is_root = geteuid().is_root();
        for open in [0o775, 0o757] {
            mode(&bobs, open);
            if is_root {
                chown(&bobs, None, Some(if open == 0o775 { 1000 } else { 0 })).unwrap();
            }
            assert!(matches!(follow(&web), Err(Doubt::Others(found)) if found == bobs));
            let below = bobs.join("web");
            assert!(matches!(follow(&below), Err(Doubt::Others(found)) if found == bobs));
            // Whoever makes what isn't there yet says what it is.
            let none = bobs.join("none");
            assert!(matches!(follow(&none), Err(Doubt::Others(found)) if found == bobs));
        }
        if is_root {
            mode(&bobs, 0o775);
            follow(&web).unwrap();
        }
        mode(&bobs, 0o1777);
        follow(&web).unwrap();
        symlink(&web, shelf.join("round")).unwrap();
        fs::remove_file(&web).unwrap();
        symlink("round", &web).unwrap();
        assert!(matches!(follow(&web), Err(Doubt::Failed(_))));
        if is_root {
            lchown(&far, Some(1000), None).unwrap();
            assert!(matches!(follow(&far), Err(Doubt::Others(found)) if found == far));
            mode(&bobs, 0o755);
            chown(&bobs, Some(1000), None).unwrap();
            let below = bobs.join("web");
            assert!(matches!(follow(&below), Err(Doubt::Others(found)) if found == bobs));
            // What lies there itself may be anybody's.
            assert_eq!(follow(&bobs).unwrap(), bobs);
        }
    }
}
