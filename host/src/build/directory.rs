//! `--method directory`: a guest from another manager's directory, which is
//! left as it is.
//!
//! Whoever had root in that guest made its files, so nothing of it is followed
//! out of it. It is a move, not a copy: identity and files stay the guest's.

use std::cell::RefCell;
use std::path::Path;

use rustix::fs::{FileType, Stat};

use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::tree::{self, Attributes};

use super::layout::{self, Layout};
use super::unpack::{LeftOut, NOBODY, Shift, remarks};
use super::{Work, clone};

/// Is there a system?
///
/// # Errors
/// When there is none.
pub(super) fn check(from: &Path) -> Result<()> {
    find(from).map(drop)
}

/// Copies the system that is in this directory.
pub(super) fn fill(from: &Path, shift: Option<Shift>, work: &mut Work<'_>) -> Result<String> {
    let (source, layout) = find(from)?;
    refuse_itself(&source, work)?;
    let stat = rustix::fs::fstat(&source)
        .map_err(|cause| source.error("examine", Path::new(""), cause))?;
    let told = || Shift::of_root(stat.st_uid.into(), stat.st_gid.into()).unwrap_or_default();
    let shift = shift.unwrap_or_else(told);
    let left_out = RefCell::new(LeftOut::default());
    let change = |path: &Path, stat: &mut Stat, attributes: &mut Attributes| {
        change(path, stat, attributes, shift, &mut left_out.borrow_mut())
    };
    let summary = clone::copy(&source, &change, work)?;
    if shift != Shift::default() {
        work.remarks.push(format!("its owners were shifted by {shift}, and are not any more"));
    }
    work.remarks.extend(remarks(&left_out.into_inner()));
    Ok(format!("'{}', {} ({summary})", source.path().display(), layout.reason))
}

/// # Errors
/// When the new root lies in the directory: there would be no end to it.
fn refuse_itself(source: &RootDir, work: &Work<'_>) -> Result<()> {
    let real = |path: &Path| {
        std::fs::canonicalize(path).map_err(|cause| Error::path("examine", path, cause))
    };
    if real(work.root.path())?.starts_with(real(source.path())?) {
        return Err(Error::new(format!(
            "the guest's root would lie in '{}' itself",
            source.path().display()
        ))
        .hint("choose another place with '--root DIR'"));
    }
    Ok(())
}

/// Opens the root that is in a directory.
fn find(from: &Path) -> Result<(RootDir, Layout)> {
    let directory = RootDir::open(from)?;
    let is_link = |name: &str| directory.read_link(name).is_ok_and(|link| link.is_some());
    // util-vserver's own link leads out of its directory; no other may.
    let vdir = if is_link("vdir") { RootDir::open(&from.join("vdir")).ok() } else { None };
    let is_directory = |name: &str| match (name.strip_prefix("vdir/"), &vdir) {
        (Some(name), Some(root)) => root.is_dir(name),
        _ => directory.is_dir(name),
    };
    let layout = layout::find(|name| directory.exists(name), is_directory);
    let layout = layout.map_err(|(what, remedy)| {
        Error::new(format!("'{}' holds {what}", from.display())).hint(remedy)
    })?;
    match (layout.root, vdir) {
        ("vdir", Some(root)) => Ok((root, layout)),
        ("", _) => Ok((directory, layout)),
        (root, _) => Ok((directory.open_dir(root)?, layout)),
    }
}

/// What a name becomes: with owners and attributes that a guest has; no device
/// nodes, because the host makes a guest's, but what an overlay takes for removed.
fn change(
    path: &Path,
    stat: &mut Stat,
    attributes: &mut Attributes,
    shift: Shift,
    left_out: &mut LeftOut,
) -> bool {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) && !tree::is_whiteout(stat)
    {
        left_out.add("device nodes are left out", path);
        return false;
    }
    let (user, group) = (shift.user(stat.st_uid.into()), shift.group(stat.st_gid.into()));
    if user.is_none() || group.is_none() {
        left_out.add("owners beyond a guest's 65536 ids became nobody", path);
    }
    stat.st_uid = user.unwrap_or(NOBODY);
    stat.st_gid = group.unwrap_or(NOBODY);
    attributes.change(|name, value| shift.attribute(name, value));
    true
}
