//! A guest's configuration that counts from the moment when its files are
//! exchanged for others, which no two renames could be.
//!
//! Before that, the new text waits beside the old one, with a word that the new
//! files bear as well: where the directory at the guest's root bears it, the new
//! text is the one that counts, also if whoever exchanged them was killed.
//! Attributes of this kind are set by the host's root only.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{XattrFlags, lgetxattr, removexattr, setxattr};
use shared::name::GuestName;

use super::load::{MODE, judge_text, set_text};
use super::parse::root_in;
use super::read::read;
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::store;

/// Bears the word.
const MARK: &str = "trusted.vserver.next";

/// A text that waits. It goes when this is dropped, unless it counts already.
#[derive(Debug)]
pub struct Next<'a> {
    paths: &'a Paths,
    name: &'a GuestName,
    root: PathBuf,
    text: &'a str,
}

impl<'a> Next<'a> {
    /// Lets a text wait for the directory `files` to come to the guest's root.
    ///
    /// # Errors
    /// Everything that is wrong with the text, or it can't be written.
    pub fn prepare(
        paths: &'a Paths,
        name: &'a GuestName,
        files: &Path,
        text: &'a str,
    ) -> Result<Self> {
        let root = judge_text(paths, name, text)?.root(paths, name);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let inode = fs::metadata(files).map_or(0, |files| files.ino());
        let word = format!("{}-{now}-{inode}", std::process::id());
        setxattr(files, MARK, word.as_bytes(), XattrFlags::empty())
            .map_err(|cause| Error::path("mark", files, cause))?;
        store::replace(&paths.next_config(name), &format!("{word}\n{text}"), MODE)?;
        Ok(Self { paths, name, root, text })
    }

    /// The files are there: the text becomes the guest's configuration.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn commit(&self) -> Result<()> {
        set_text(self.paths, self.name, self.text)
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        let path = self.paths.next_config(self.name);
        match read(&path) {
            Ok(Some(text)) if of(&self.root, &text).is_none() => {
                let _ = fs::remove_file(&path);
            }
            _ => {}
        }
    }
}

/// A text that counts in place of the one in the guest's own file.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) text: String,
    path: PathBuf,
    root: PathBuf,
}

impl InForce {
    /// The text that counts in place of this one of the guest's own file, if there
    /// is one.
    ///
    /// # Errors
    /// When what waits can't be read.
    pub(super) fn find(paths: &Paths, name: &GuestName, own: &str) -> Result<Option<Self>> {
        let path = paths.next_config(name);
        let Some(next) = read(&path)? else { return Ok(None) };
        // Both have the same root.
        let root = root_in(own).unwrap_or_else(|| paths.root(name));
        let text = of(&root, &next).map(str::to_owned);
        Ok(text.map(|text| Self { text, path, root }))
    }

    /// The guest's own file has all that counts now.
    ///
    /// # Errors
    /// When the other one can't be removed.
    pub(super) fn settle(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|cause| Error::path("remove", &self.path, cause))?;
        // Nobody asks for it any more.
        let _ = removexattr(&self.root, MARK);
        Ok(())
    }
}

/// The text that has waited for what is at this root.
fn of<'t>(root: &Path, next: &'t str) -> Option<&'t str> {
    let (word, text) = next.split_once('\n')?;
    let mut mark = [0; 128];
    let length = lgetxattr(root, MARK, &mut mark).ok()?;
    (mark.get(..length) == Some(word.as_bytes())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_text_that_waits_counts_with_the_files_that_it_is_of() {
        let prefix = tempfile::tempdir_in("/var/tmp").unwrap();
        let (paths, name) = (Paths::new(prefix.path()), "web".parse().unwrap());
        let root = paths.root(&name);
        let files = paths.roots_dir().join("new");
        for path in [&root, &files, &paths.config_dir()] {
            fs::create_dir_all(path).unwrap();
        }
        let (old, new) = ("context = 7\n", "context = 7\nhostname = \"new\"\n");
        fs::write(paths.config(&name), old).unwrap();
        let text = || config::text(&paths, &name).unwrap();
        let next = match Next::prepare(&paths, &name, &files, new) {
            // Others than root can't have such attributes, and leave nothing.
            Err(error) if !rustix::process::geteuid().is_root() => {
                assert_eq!(error.errno(), Some(libc::EPERM));
                assert!(!paths.next_config(&name).exists());
                return;
            }
            other => other.unwrap(),
        };
        assert_eq!(text(), old);
        drop(next);
        assert!(!paths.next_config(&name).exists());
        for kills in [false, true] {
            fs::write(paths.config(&name), old).unwrap();
            let next = Next::prepare(&paths, &name, &files, new).unwrap();
            let away = paths.roots_dir().join("away");
            fs::rename(&root, &away).unwrap();
            assert_eq!(text(), old);
            fs::rename(&files, &root).unwrap();
            assert_eq!(text(), new, "what has come is taken for what was");
            if kills {
                drop(next);
                assert_eq!(text(), new);
                set_text(&paths, &name, &format!("{new}#\n")).unwrap();
                assert_eq!(text(), format!("{new}#\n"));
            } else {
                next.commit().unwrap();
                assert_eq!(fs::read_to_string(paths.config(&name)).unwrap(), new);
            }
            assert!(!paths.next_config(&name).exists());
            fs::rename(&root, &files).unwrap();
            fs::rename(&away, &root).unwrap();
        }
    }
}
