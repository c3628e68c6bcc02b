//! Reads the files of another manager's configuration. Nothing of them is
//! executed, and no link in a directory is followed.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::detect::detect_directory;
use super::{Content, File, Format, detect};
use crate::error::{Error, Result};

/// No configuration is larger.
const LARGEST: u64 = 1 << 18;

/// No directory of util-vserver's has more files, or deeper ones.
const MOST: usize = 4096;
const DEEPEST: usize = 8;

/// What was read.
#[derive(Debug)]
pub struct Source {
    /// Whose it is.
    pub format: Format,
    /// The file or directory itself.
    pub path: PathBuf,
    /// All of it.
    pub files: Vec<File>,
}

impl Source {
    /// What the path says the guest is called.
    pub fn name(&self) -> Option<&str> {
        let named = match self.format {
            // It is called `config`, in the guest's directory.
            Format::Lxc => self.path.parent()?.file_name()?,
            Format::Directory => self.path.file_name()?,
            Format::Openvz if self.path.ends_with("ve.conf") => self.path.parent()?.file_name()?,
            _ => self.path.file_stem()?,
        };
        named.to_str()
    }

    /// Where the guest's files are if the configuration doesn't say it: beside
    /// it, as its manager keeps them.
    pub fn root(&self) -> Option<PathBuf> {
        let root = match self.format {
            Format::Lxc => self.path.parent()?.join("rootfs"),
            Format::Nspawn => {
                let name = self.path.file_stem()?;
                let beside = self.path.with_file_name(name);
                // Settings may stand in /etc/systemd/nspawn, machines don't.
                let machines = Path::new("/var/lib/machines").join(name);
                if beside.is_dir() { beside } else { machines }
            }
            Format::Legacy => Path::new("/vservers").join(self.path.file_stem()?),
            Format::Openvz if self.path.ends_with("ve.conf") => self.path.parent()?.to_owned(),
            _ => return None,
        };
        root.is_dir().then_some(root)
    }
}

/// Reads a configuration of this format, or of the one that is told.
///
/// # Errors
/// When it can't be read, or whose it is can't be told.
pub fn read(path: &Path, format: Option<Format>) -> Result<Source> {
    let path = std::path::absolute(path).map_err(|cause| Error::path("read", path, cause))?;
    let kind = fs::metadata(&path).map_err(|cause| Error::path("read", &path, cause))?;
    if kind.is_dir() {
        return of_directory(path, format);
    }
    let text = match content(&path) {
        Content::Text(text) => text,
        Content::Unreadable(why) => {
            return Err(Error::new(format!("cannot read '{}': {why}", path.display())));
        }
        _ => return Err(Error::new(format!("'{}' is no configuration", path.display()))),
    };
    let name = file_name(&path);
    let format = format.or_else(|| detect(&name, &text)).ok_or_else(|| whose(&path))?;
    if format == Format::Directory {
        return Err(Error::usage(format!("'{}' is no directory", path.display())));
    }
    let mut files =
        vec![File { path: path.display().to_string(), name, content: Content::Text(text) }];
    files.extend(scripts(&path, format));
    Ok(Source { format, path, files })
}

fn of_directory(path: PathBuf, format: Option<Format>) -> Result<Source> {
    let found = detect_directory(|name| path.join(name).symlink_metadata().is_ok());
    let meant = match format {
        None => found,
        Some(Format::Directory) => Some((Format::Directory, "")),
        Some(format) => found.filter(|(found, _)| *found == format),
    };
    match meant {
        Some((Format::Directory, _)) => {
            let mut files = Vec::new();
            walk(&path, "", 0, &mut files)?;
            Ok(Source { format: Format::Directory, path, files })
        }
        Some((format, file)) => {
            let file = path.join(file);
            // In a guest's own files it could lead to any of the host's.
            if file.is_symlink() {
                return Err(Error::new(format!("'{}' is a link", file.display()))
                    .hint("give the file that it leads to"));
            }
            read(&file, Some(format))
        }
        None => Err(whose(&path)),
    }
}

fn whose(path: &Path) -> Error {
    Error::new(format!("cannot tell whose configuration '{}' is", path.display()))
        .hint("'--from' says it; give the configuration, not the guest's files")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Scripts of the manager's that go with a file: they are named, not read.
fn scripts(path: &Path, format: Format) -> Vec<File> {
    let actions: &[&str] = match format {
        Format::Legacy => &["sh"],
        Format::Openvz => &["start", "stop", "mount", "umount", "premount", "postumount"],
        _ => &[],
    };
    let beside = actions.iter().map(|action| path.with_extension(action));
    let there = beside.filter(|script| script.is_file());
    there
        .map(|script| File {
            path: script.display().to_string(),
            name: file_name(&script),
            content: Content::Script,
        })
        .collect()
}

/// Directories and files that editors, package managers and version control
/// leave behind.
fn is_foreign(name: &str) -> bool {
    const ENDS: [&str; 6] = ["~", ".rpmnew", ".rpmsave", ".dpkg-old", ".dpkg-dist", ".bak"];
    name.starts_with('.')
        || ["CVS", "RCS", "SCCS"].contains(&name)
        || ENDS.iter().any(|end| name.ends_with(end))
}

fn walk(directory: &Path, below: &str, depth: usize, files: &mut Vec<File>) -> Result<()> {
    let failed = |cause| Error::path("read", directory, cause);
    let mut entries: Vec<_> =
        fs::read_dir(directory).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    // Their order is that of addresses.
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Ok(own) = entry.file_name().into_string() else {
            return Err(Error::new(format!(
                "'{}' has a name that is no text",
                entry.path().display()
            )));
        };
        if is_foreign(&own) {
            continue;
        }
        let name = if below.is_empty() { own } else { format!("{below}/{own}") };
        let path = entry.path();
        let kind = entry.file_type().map_err(failed)?;
        if files.len() >= MOST || depth > DEEPEST {
            return Err(Error::new(format!(
                "'{}' is no configuration: it is too large",
                directory.display()
            )));
        }
        if kind.is_dir() {
            walk(&path, &name, depth + 1, files)?;
            continue;
        }
        let content = match () {
            () if kind.is_symlink() => {
                match fs::canonicalize(&path).or_else(|_| fs::read_link(&path)) {
                    Ok(to) => Content::Link(to.to_string_lossy().into_owned()),
                    Err(cause) => Content::Unreadable(cause.to_string()),
                }
            }
            () if name.starts_with("scripts/")
                || name.starts_with("apps/vshelper/") && is_program(&path) =>
            {
                Content::Script
            }
            () => content(&path),
        };
        files.push(File { path: path.display().to_string(), name, content });
    }
    Ok(())
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o111 != 0)
}

/// What a file holds, if it is one and holds text.
fn content(path: &Path) -> Content {
    let unreadable = |cause: std::io::Error| Content::Unreadable(cause.to_string());
    let mut options = fs::OpenOptions::new();
    // A FIFO would never open.
    let opened = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(cause) => return unreadable(cause),
    };
    match file.metadata() {
        Ok(kind) if kind.is_file() => {}
        Ok(kind) if kind.file_type().is_fifo() => {
            return Content::Unreadable("it is a FIFO".into());
        }
        Ok(_) => return Content::Unreadable("it is no file".into()),
        Err(cause) => return unreadable(cause),
    }
    let mut bytes = Vec::new();
    match file.take(LARGEST + 1).read_to_end(&mut bytes) {
        Err(cause) => unreadable(cause),
        Ok(length) if length as u64 > LARGEST => Content::Unreadable("it is too large".into()),
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Content::Text(text),
            _ => Content::Unreadable("it is no text".into()),
        },
    }
}
