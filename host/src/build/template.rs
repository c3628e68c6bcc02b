//! `--method template`: a guest from archives that anybody may have made, one
//! on top of the other.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

use super::Work;
use super::unpack::{Counted, Extractor, Shift, Watched, decompressed, input, remarks, walk};

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
        let extracted = extract(path, &position, &mut extractor, work);
        // An interrupt makes reading fail; that is no fault of the archive's.
        work.interrupt.check()?;
        extracted.map_err(|error| error.context(format_args!("cannot extract {}", shown(path))))?;
    }
    if let Some(shift) = extractor.shift() {
        work.remarks.push(format!("its owners were shifted by {shift}, and are not any more"));
    }
    let left_out = extractor.finish()?;
    let shown: Vec<String> = from.iter().map(|path| shown(path)).collect();
    if !is_system(work.root) {
        return Err(Error::new(format!(
            "{} is not the archive of a whole system",
            shown.join(" and ")
        ))
        .hint("its top level must hold 'usr', 'etc' and the like; pack with 'tar -C ROOT -c .'"));
    }
    work.remarks.extend(remarks(&left_out));
    let noun = if shown.len() == 1 { "the archive" } else { "the archives" };
    Ok(format!("{noun} {}", shown.join(", ")))
}

/// Does a root look like one?
pub(super) fn is_system(root: &crate::fsroot::RootDir) -> bool {
    ["usr", "bin", "sbin", "etc"].iter().any(|directory| root.is_dir(directory))
}

fn extract(
    path: &Path,
    position: &Counted,
    extractor: &mut Extractor<'_>,
    work: &Work<'_>,
) -> Result<()> {
    let plain = decompressed(Watched::new(input(path)?, position, work.interrupt))?;
    walk(plain, &mut |entry, data| {
        work.progress.at(position.get());
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
