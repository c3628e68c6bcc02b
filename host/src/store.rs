//! Files that are written whole or not at all, and locks.
//!
//! Only for files of vserver's own, in directories of the host's root: never
//! for a path inside a guest.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{
    self as system, Advice, AtFlags, CWD, RenameFlags, fadvise, renameat_with, statat,
};
use rustix::io::Errno;

use crate::error::{self, Error, Result};

/// Opens a file of vserver's own for reading. What isn't a file isn't opened: a device
/// might do something. Should it become a FIFO in between, nobody who looks at all
/// guests waits for who writes to that.
///
/// # Errors
/// Those of open(2), and one for what isn't a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file; remove it, or put one in its place"));
    }
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Creates a file that must not exist yet, with its directory.
///
/// # Errors
/// When it exists, or can't be written; then nothing is left.
pub fn create(path: &Path, text: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let temporary = Temporary::write(path, text.as_ref(), mode, None, Sync::Disk)?;
    // Unlike rename(2), link(2) refuses to replace.
    fs::hard_link(&temporary.path, path).map_err(|error| Error::path("create", path, error))?;
    drop(temporary);
    sync_directory(path)
}

/// Writes a file in place of the old one, if there is one, whose mode and
/// owner it keeps. A symbolic link stays one: what it points to is replaced.
///
/// # Errors
/// When it can't be written; then the old one is as it was.
pub fn replace(path: &Path, text: &str, mode: u32) -> Result<()> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    exchange(path, text, mode, Sync::Disk)?;
    sync_directory(path)
}

/// Writes a file that a user has named, in place of the old one, if there is one. Its
/// directory may be another user's, so nothing of what is there counts: no link is
/// followed, and neither mode nor owner is kept.
///
/// # Errors
/// When it can't be written, or something else than a file has its name.
pub fn put(path: &Path, text: &str, mode: u32) -> Result<()> {
    only_a_file(path)?;
    let temporary = Temporary::write(path, text.as_bytes(), mode, None, Sync::Disk)?;
    fs::rename(&temporary.path, path).map_err(|error| Error::path("replace", path, error))?;
    drop(temporary);
    sync_directory(path)
}

/// Is there nothing of this name, or a file?
///
/// # Errors
/// When it is something else: a link, or a device, without which a host may be lost.
pub fn only_a_file(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(old) if old.is_symlink() => {
            Err(Error::new(format!("'{}' is a symbolic link", error::told(path)))
                .hint("links aren't followed here: name the file itself, or another one"))
        }
        Ok(old) if !old.is_file() => {
            Err(Error::new(format!("'{}' is not a regular file", error::told(path)))
                .hint("it is not replaced: name another file"))
        }
        _ => Ok(()),
    }
}

/// [`replace`] for a file that has to be there; false if it isn't. One that
/// somebody removes meanwhile stays removed.
///
/// # Errors
/// As [`replace`].
pub fn replace_existing(path: &Path, text: &str, mode: u32) -> Result<bool> {
    let Ok(path) = &fs::canonicalize(path) else { return Ok(false) };
    let Ok(old) = fs::metadata(path) else { return Ok(false) };
    let temporary = Temporary::write(path, text.as_bytes(), mode, Some(&old), Sync::Disk)?;
    // Unlike a plain rename(2), an exchange makes no file where there is none.
    match renameat_with(CWD, &temporary.path, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(false),
        // A file system that can't.
        Err(Errno::INVAL) => fs::rename(&temporary.path, path)
            .map_err(|error| Error::path("replace", path, error))?,
        Err(error) => return Err(Error::path("replace", path, error)),
    }
    drop(temporary);
    sync_directory(path).map(|()| true)
}

/// [`replace`] without waiting for the disk, to which it is written soon: whole
/// for whoever reads it, but after a power failure it may be the old one, or
/// empty.
///
/// # Errors
/// As [`replace`].
pub fn replace_unsynced(path: &Path, text: &str, mode: u32) -> Result<()> {
    exchange(path, text, mode, Sync::Soon)
}

fn exchange(path: &Path, text: &str, mode: u32, sync: Sync) -> Result<()> {
    let old = fs::metadata(path).ok();
    let temporary = Temporary::write(path, text.as_bytes(), mode, old.as_ref(), sync)?;
    fs::rename(&temporary.path, path).map_err(|error| Error::path("replace", path, error))
}

/// A copy of a file for somebody to edit, beside it, which nobody but root may read.
/// It goes when this is dropped.
pub struct Scratch {
    temporary: Temporary,
}

impl Scratch {
    /// Writes one.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(target: &Path, text: &str) -> Result<Self> {
        let failed = |error| Error::path("copy", target, error);
        let (temporary, mut file) = Temporary::open(target, "edit").map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(Self { temporary })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.temporary.path
    }

    /// Leaves it there.
    pub fn keep(self) -> PathBuf {
        let path = self.temporary.path.clone();
        std::mem::forget(self);
        path
    }
}

/// A file that is written bit by bit, and has its name when it is whole. Before
/// that it goes when this is dropped. Only root may read it.
pub struct Growing {
    temporary: Temporary,
    file: File,
    target: PathBuf,
}

impl Growing {
    /// Begins with an empty one, in a directory that is there.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn begin(target: &Path) -> Result<Self> {
        let opened = Temporary::open(target, NEW);
        let (temporary, file) = opened.map_err(|error| Error::path("write", target, error))?;
        Ok(Self { temporary, file, target: target.to_owned() })
    }

    /// What is to be written to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, in place of another file if it may replace one, and
    /// tells its length; `None` if it may not and there is one.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(self, replaces: bool) -> Result<Option<u64>> {
        let failed = |error| Error::path("write", &self.target, error);
        self.file.sync_all().map_err(failed)?;
        let length = self.file.metadata().map_err(failed)?.len();
        let (from, to) = (&self.temporary.path, &self.target);
        let renamed = match replaces {
            true => {
                only_a_file(to)?;
                system::rename(from, to)
            }
            false => rename_new((CWD, from), (CWD, to)),
        };
        match renamed {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        }
        sync_directory(&self.target).map(|()| Some(length))
    }
}

/// Gives a file or directory another name, which nothing may have yet. Each name is
/// one in a directory, or a path.
///
/// # Errors
/// EEXIST if something has it; those of renameat2(2).
pub fn rename_new(
    (from, name): (impl AsFd, &Path),
    (to, new): (impl AsFd, &Path),
) -> Result<(), Errno> {
    let rename = |how| renameat_with(&from, name, &to, new, how);
    let link = || {
        system::linkat(&from, name, &to, new, AtFlags::empty())?;
        system::unlinkat(&from, name, AtFlags::empty()).inspect_err(|_| {
            let _ = system::unlinkat(&to, new, AtFlags::empty());
        })
    };
    let is_there = || match statat(&to, new, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(cause) => Err(cause),
    };
    without_replacing(rename, link, is_there)
}

/// Renames by what the file system can do: NFS, CephFS, 9p and most that lie on FUSE
/// rename only in the place of what is there.
fn without_replacing(
    rename: impl Fn(RenameFlags) -> Result<(), Errno>,
    link: impl FnOnce() -> Result<(), Errno>,
    is_there: impl FnOnce() -> Result<bool, Errno>,
) -> Result<(), Errno> {
    match rename(RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        other => return other,
    }
    // link(2) replaces nothing either.
    match link() {
        // A directory, or a file system without links.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {}
        other => return other,
    }
    // Whoever makes the same name holds the same lock, but for files that a user
    // has named.
    match is_there()? {
        true => Err(Errno::EXIST),
        false => rename(RenameFlags::empty()),
    }
}

/// When is a file written?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// When it is on the disk.
    Disk,
    /// When the kernel has it, and begins to write it.
    Soon,
}

/// Takes the lock of a file, which is created if need be, waiting for it. It
/// is held until the returned value is dropped.
///
/// # Errors
/// When the lock file can't be made.
pub fn lock(path: &Path) -> Result<File> {
    make_directory(path)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(path).map_err(|error| Error::path("open", path, error))?;
    file.lock().map_err(|error| Error::path("lock", path, error))?;
    Ok(file)
}

/// The ending of what is to take a file's place.
const NEW: &str = "new";

/// A file that goes away unless it was renamed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// An empty file beside the target, which nobody but root may read.
    fn open(target: &Path, ending: &str) -> io::Result<(Self, File)> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.{ending}", process::id()));
        let path = target.with_file_name(name);
        // Left over from a crashed process that had the same number.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((Self { path }, file))
    }

    fn write(
        target: &Path,
        text: &[u8],
        mode: u32,
        like: Option<&fs::Metadata>,
        sync: Sync,
    ) -> Result<Self> {
        make_directory(target)?;
        let fail = |error| Error::path("write", target, error);
        let (temporary, file) = Self::open(target, NEW).map_err(fail)?;
        fill(&file, text, mode, like).map_err(fail)?;
        match sync {
            Sync::Disk => file.sync_all().map_err(fail)?,
            // It begins at once with what needn't stay in memory (mm/fadvise.c);
            // by itself it would after half a minute.
            Sync::Soon => drop(fadvise(&file, 0, None, Advice::DontNeed)),
        }
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is none.
        let _ = fs::remove_file(&self.path);
    }
}

fn fill(mut file: &File, text: &[u8], mode: u32, like: Option<&fs::Metadata>) -> io::Result<()> {
    let mode = like.map_or(mode, |old| old.mode() & 0o7777);
    if let Some(old) = like {
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            fchown(file, Some(old.uid()), Some(old.gid()))?;
        }
    }
    // Not left to the umask: others' tools read configurations.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text)
}

fn make_directory(path: &Path) -> Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    fs::create_dir_all(directory).map_err(|error| Error::path("create", directory, error))
}

/// The name itself survives a power failure only when its directory is
/// written (fsync(2)).
///
/// # Errors
/// Those of open(2) and fsync(2).
pub fn sync_directory(path: &Path) -> Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    // That of a bare name (`Path::parent`).
    sync(if directory.as_os_str().is_empty() { Path::new(".") } else { directory })
}

/// The same for all names in a directory.
///
/// # Errors
/// Those of open(2) and fsync(2).
pub fn sync(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Error::path("write", directory, error))
}

/// Waits until the disk has all that the file system has on which a file or
/// directory lies (syncfs(2)).
///
/// # Errors
/// Those of open(2) and syncfs(2).
pub fn sync_file_system(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| Ok(system::syncfs(file)?));
    synced.map_err(|error| Error::path("write", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn create_never_overwrites() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/file");
        create(&path, "one", 0o644).unwrap();
        assert!(create(&path, "two", 0o644).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(entries(path.parent().unwrap()), 1);
    }

    #[test]
    fn a_bare_name_is_in_the_working_directory() {
        sync_directory(Path::new("name")).unwrap();
    }

    /// What a file system says, and what was asked of it.
    fn renamed(noreplace: Errno, link: Result<(), Errno>, there: bool) -> (String, Vec<String>) {
        let asked = std::cell::RefCell::new(Vec::new());
        let ask = |what: String| asked.borrow_mut().push(what);
        let rename = |how: RenameFlags| {
            ask(format!("rename {}", how.bits()));
            if how.is_empty() { Ok(()) } else { Err(noreplace) }
        };
        let linked = || {
            ask("link".to_owned());
            link
        };
        let end = without_replacing(rename, linked, || Ok(there));
        (format!("{end:?}"), asked.into_inner())
    }

    #[test]
    fn nothing_is_replaced_where_the_file_system_knows_no_such_renaming() {
        let ends = |error: Errno| format!("{:?}", Err::<(), _>(error));
        assert_eq!(
            renamed(Errno::EXIST, Ok(()), false),
            (ends(Errno::EXIST), vec!["rename 1".into()])
        );
        for unknown in [Errno::INVAL, Errno::NOSYS] {
            let tried = ["rename 1", "link"].map(String::from).to_vec();
            assert_eq!(renamed(unknown, Ok(()), false), ("Ok(())".into(), tried.clone()));
            let exists = renamed(unknown, Err(Errno::EXIST), false);
            assert_eq!(exists, (ends(Errno::EXIST), tried.clone()));
            for refused in [Errno::PERM, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS] {
                let all = ["rename 1", "link", "rename 0"].map(String::from).to_vec();
                assert_eq!(renamed(unknown, Err(refused), false), ("Ok(())".into(), all));
                let exists = renamed(unknown, Err(refused), true);
                assert_eq!(exists, (ends(Errno::EXIST), tried.clone()));
            }
        }
    }

    #[test]
    fn a_new_name_is_none_that_something_has() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two, below] = ["one", "two", "below"].map(|name| directory.path().join(name));
        fs::write(&one, "one").unwrap();
        fs::create_dir(&below).unwrap();
        rename_new((CWD, &one), (CWD, &two)).unwrap();
        assert_eq!(rename_new((CWD, &one), (CWD, &below)), Err(Errno::NOENT));
        assert_eq!(rename_new((CWD, &below), (CWD, &two)), Err(Errno::EXIST));
        assert_eq!(rename_new((CWD, &two), (CWD, &below)), Err(Errno::EXIST));
        assert_eq!(fs::read_to_string(&two).unwrap(), "one");
    }

    #[test]
    fn replace_keeps_the_mode_and_follows_links() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, "new", 0o644).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(entries(directory.path()), 2);
    }

    #[test]
    fn what_a_user_has_named_is_replaced_only_if_it_is_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("victim"), "theirs").unwrap();
        std::os::unix::fs::symlink("victim", path("link")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["link", "fifo"] {
            assert!(put(&path(name), "ours", 0o644).is_err(), "{name}");
            assert!(Growing::begin(&path(name)).unwrap().finish(true).is_err(), "{name}");
            assert!(!fs::symlink_metadata(path(name)).unwrap().is_file(), "{name}");
        }
        fs::set_permissions(path("victim"), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(fs::read_to_string(path("victim")).unwrap(), "theirs");
        put(&path("victim"), "ours", 0o644).unwrap();
        assert_eq!(fs::read_to_string(path("victim")).unwrap(), "ours");
        assert_eq!(fs::metadata(path("victim")).unwrap().mode() & 0o7777, 0o644);
        assert_eq!(entries(directory.path()), 3);
    }

    #[test]
    fn what_was_removed_stays_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert!(!replace_existing(&path, "new", 0o644).unwrap());
        assert_eq!(entries(directory.path()), 0);
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(replace_existing(&path, "new", 0o644).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(entries(directory.path()), 1);
    }
}
