//! A new root that is a copy of another guest's.

use std::cell::Cell;

use shared::name::GuestName;

use crate::config::Place;
use crate::error::Result;
use crate::fsroot::RootDir;
use crate::storage;
use crate::tree::{self, Change, Manner};

use super::Work;

/// Between two looks at the terminal.
const SHOWN_EVERY: u64 = 256;

/// Copies the files of a guest that nobody changes, unless they are there.
pub(super) fn fill(
    source: &GuestName,
    files: Option<&Place>,
    work: &mut Work<'_>,
) -> Result<String> {
    let Some(place) = files else { return Ok(format!("guest '{source}'")) };
    let from = storage::view_only(place)?;
    work.keys.begin_for(&from)?;
    let copied = copy(&from, &|_, _, _| true, work)?;
    Ok(format!("guest '{source}' ({copied})"))
}

/// Copies a root with changes; says how.
pub(super) fn copy(from: &RootDir, change: Change<'_>, work: &mut Work<'_>) -> Result<String> {
    work.progress.lines("copying");
    let shown = Cell::new(0);
    let interrupt = work.interrupt;
    let check = || interrupt.check();
    let manner = Manner { change, ..Manner::plain(&check) };
    let copied = tree::copy(from, work.root, &manner, |files| {
        if files >= shown.get() + SHOWN_EVERY {
            shown.set(files);
            work.progress.say(format!("copying: {files} files"));
        }
    })?;
    work.remarks.extend(tree::without_attributes(copied.without_attributes));
    let how = match copied.shared {
        0 => "copied",
        _ if copied.copied == 0 => "blocks shared",
        _ => "some blocks shared",
    };
    Ok(format!("{} files, {how}", copied.files))
}
