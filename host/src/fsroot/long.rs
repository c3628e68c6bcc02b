//! Paths that are longer than the kernel takes (`PATH_MAX`): anybody can make such
//! directories, one in the other. They are opened in pieces, each from the one before.
//!
//! A piece leads nowhere but down, so that it doesn't matter if what ends the one
//! before is moved meanwhile: nothing goes up from there.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Bytes of a path that the kernel is given at once, with some to spare.
const LONGEST: usize = 4000;

/// Nothing but what lies in the directory itself.
pub(super) const BELOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Opens what is at a path of any length below a directory, without any link on the
/// way; `how` is what else openat2(2) is to see to.
///
/// # Errors
/// Those of openat2(2).
pub fn open_beneath(
    directory: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    how: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let (how, flags) = (how | BELOW, flags | OFlags::CLOEXEC);
    let Some((first, mut rest)) = split(path) else {
        return fs::openat2(directory, path, flags, mode, how);
    };
    let on_the_way = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = fs::openat2(directory, first, on_the_way, Mode::empty(), how)?;
    while let Some((piece, behind)) = split(rest) {
        here = fs::openat2(&here, piece, on_the_way, Mode::empty(), how)?;
        rest = behind;
    }
    fs::openat2(&here, rest, flags, mode, how)
}

/// The first piece of a path that is too long, and what comes after it.
pub(super) fn split(path: &Path) -> Option<(&Path, &Path)> {
    let bytes = path.as_os_str().as_bytes();
    let most = bytes.get(..LONGEST)?;
    // Of a name that is too long itself the kernel says so.
    let end = most.iter().rposition(|byte| *byte == b'/').filter(|end| *end > 0)?;
    let (first, rest) = bytes.split_at_checked(end)?;
    let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
    let rest = match rest.get(slashes..) {
        None | Some([]) => b".",
        Some(rest) => rest,
    };
    Some((Path::new(OsStr::from_bytes(first)), Path::new(OsStr::from_bytes(rest))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_falls_apart_between_its_names() {
        assert_eq!(split(Path::new("/etc/passwd")), None);
        assert_eq!(split(Path::new(&"x".repeat(5000))), None);
        let name = "x".repeat(200);
        let names = [name.as_str(); 50].join("/");
        let path = format!("/{names}");
        let (mut pieces, mut rest) = (Vec::new(), Path::new(&path));
        while let Some((piece, behind)) = split(rest) {
            pieces.push(piece.to_str().unwrap());
            rest = behind;
        }
        pieces.push(rest.to_str().unwrap());
        assert_eq!((pieces.len(), pieces.join("/")), (3, path));
        // A directory's path may end with slashes.
        let ending = format!("{}{}", [name.as_str(); 19].join("/"), "/".repeat(300));
        assert_eq!(split(Path::new(&ending)).unwrap().1, Path::new("."));
    }
}
