//! `--method template`: a guest from archives that anybody may have made, one
//! on top of the other.

use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fsroot::{RootDir, names_in, remove_tree};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::store;

use super::unpack::{
    Counted, Extractor, LeftOut, Shift, Watched, decompressed, input, remarks, walk,
};
use super::{Work, layout};

/// Are the archives there? What isn't a file may be read once only.
///
/// # Errors
/// When one isn't.
pub(super) fn check(from: &[PathBuf]) -> Result<()> {
    let missing = |path: &&PathBuf| **path != Path::new("-") && !path.exists();
    match from.iter().find(missing) {
        None => Ok(()),
        Some(path) => Err(Error::new(format!("there is no archive {}", shown(path)))),
    }
}

/// Extracts the archives into the root, in this order.
pub(super) fn fill(from: &[PathBuf], shift: Option<Shift>, work: &mut Work<'_>) -> Result<String> {
    let length = |path: &PathBuf| std::fs::metadata(path).ok().map(|metadata| metadata.len());
    match from.iter().map(length).sum::<Option<u64>>() {
        Some(whole) => work.progress.bytes("extracting", whole),
        None => work.progress.unmeasured("extracting"),
    }
    let position = Counted::default();
    let mut extractor = Extractor::new(work.root, work.interrupt, shift);
    for path in from {
        let extracted = extract(path, &position, &mut extractor, work.interrupt, work.progress);
        // An interrupt makes reading fail; that is no fault of the archive's.
        work.interrupt.check()?;
        extracted.map_err(|error| error.context(format_args!("cannot extract {}", shown(path))))?;
    }
    if let Some(shift) = extractor.shift() {
        work.remarks.push(format!("its owners were shifted by {shift}, and are not any more"));
    }
    let left_out = extractor.finish()?;
    let shown: Vec<String> = from.iter().map(|path| shown(path)).collect();
    settle(work, &shown.join(" and "))?;
    work.remarks.extend(remarks(&left_out));
    let noun = if shown.len() == 1 { "the archive" } else { "the archives" };
    Ok(format!("{noun} {}", shown.join(", ")))
}

/// Lays an archive of any files into a directory that is empty, with the owners
/// that it names; gives what was left out.
///
/// # Errors
/// When it is no archive, is damaged or cut off, something in it leads outside or
/// can't be made, or the interrupt came.
pub(crate) fn unpack(
    from: &Path,
    root: &RootDir,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<LeftOut> {
    progress.unmeasured("extracting");
    let mut extractor = Extractor::new(root, interrupt, Some(Shift::default()));
    let extracted = extract(from, &Counted::default(), &mut extractor, interrupt, progress);
    interrupt.check()?;
    extracted.map_err(|error| error.context(format_args!("cannot extract {}", shown(from))))?;
    extractor.finish()
}

/// Makes the root that is somewhere in what was brought the guest's.
///
/// # Errors
/// When `what` held none, or it can't be moved.
pub(super) fn settle(work: &mut Work<'_>, what: &str) -> Result<()> {
    let root = work.root;
    let layout = layout::find(|name| root.exists(name), |name| root.is_dir(name));
    let layout = layout.map_err(|_| {
        Error::new(format!("{what} holds no whole system"))
            .hint("'usr', 'etc' and the like must be in it, or in its 'rootfs' or 'fs'")
    })?;
    if !layout.root.is_empty() {
        lift(root, Path::new(layout.root))
            .map_err(|cause| root.error("move", Path::new(layout.root), cause))?;
        work.remarks.push(format!("the root in it is {}", layout.reason));
    }
    Ok(())
}

/// Does a root look like one?
pub(super) fn is_system(root: &RootDir) -> bool {
    layout::find(|name| root.exists(name), |name| root.is_dir(name))
        .is_ok_and(|layout| layout.root.is_empty())
}

/// Makes a directory inside the root itself; what lies beside it goes.
fn lift(root: &RootDir, below: &Path) -> Result<(), Errno> {
    const LIFTED: &str = ".vserver-lifted";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let top = root.open_at(Path::new(""), flags, Mode::empty())?;
    let (parent, name) = root.open_parent(below)?;
    let lifted = root.open_at(below, flags, Mode::empty())?;
    store::rename_new((&parent, Path::new(name)), (&top, Path::new(LIFTED)))?;
    for name in names_in(&top)?.iter().filter(|name| *name != LIFTED) {
        remove_tree(&top, name)?;
    }
    for name in names_in(&lifted)? {
        fs::renameat(&lifted, &name, &top, &name)?;
    }
    let stat = fs::fstat(&lifted)?;
    fs::fchown(&top, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fs::fchmod(&top, Mode::from_raw_mode(stat.st_mode))?;
    fs::unlinkat(&top, LIFTED, AtFlags::REMOVEDIR)
}

fn extract(
    path: &Path,
    position: &Counted,
    extractor: &mut Extractor<'_>,
    interrupt: &Interrupt,
    progress: &Progress,
) -> Result<()> {
    let plain = decompressed(Watched::new(input(path)?, position, interrupt))?;
    walk(plain, &mut |entry, data| {
        progress.at(position.get());
        extractor.extract(&entry, data)
    })
}

/// An archive as messages name it.
pub(super) fn shown(path: &Path) -> String {
    if path == Path::new("-") {
        return "standard input".to_owned();
    }
    format!("'{}'", path.display())
}
