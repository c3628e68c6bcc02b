//! `--method template`: a guest from a tar archive that anybody may have
//! made.
//!
//! `archive` finds out how it is compressed, `extract` lays its entries into
//! the root and nowhere else. Device nodes are left out and named: the host
//! makes a guest's devices.

mod archive;
mod extract;

use std::path::Path;

use crate::error::{Error, Result};

use super::Work;
use extract::Extractor;

/// How many left-out entries a remark names.
const NAMED: usize = 8;

/// Extracts the archive into the root.
pub(super) fn fill(from: &Path, work: &mut Work<'_>) -> Result<String> {
    let whole = std::fs::metadata(from).map_or(0, |metadata| metadata.len());
    work.progress.bytes("extracting", whole);
    let mut extractor = Extractor::new(work.root);
    let extracted = archive::open(from, work.interrupt).and_then(|opened| {
        opened.entries(|entry, position| {
            work.progress.at(position);
            extractor.extract(entry)
        })
    });
    // An interrupt makes reading fail; that is no fault of the archive's.
    work.interrupt.check()?;
    extracted
        .map_err(|error| error.context(format_args!("cannot extract '{}'", from.display())))?;
    let left_out = extractor.finish()?;
    if !["usr", "bin", "sbin", "etc"].iter().any(|directory| work.root.is_dir(directory)) {
        return Err(Error::new(format!(
            "'{}' is not the archive of a whole system",
            from.display()
        ))
        .hint("its top level must hold 'usr', 'etc' and the like; pack with 'tar -C ROOT -c .'"));
    }
    for (why, paths) in left_out.by_reason() {
        work.remarks.push(remark(why, paths));
    }
    Ok(format!("the archive '{}'", from.display()))
}

fn remark(why: &str, paths: &[String]) -> String {
    let named = paths.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = paths.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{why}: {named}{more}")
}
