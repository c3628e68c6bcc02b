//! Guests whose files lie over a directory.

use std::path::Path;

use crate::config;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// # Errors
/// When a guest's files lie over this directory, or one below it: that is what
/// `what` can't be done for.
pub(super) fn refuse(paths: &Paths, directory: &Path, what: impl FnOnce() -> String) -> Result<()> {
    let lies_over = |name: &_| {
        // A file with mistakes may name any directory; it is not guessed at.
        let config = config::load(paths, name).ok()?;
        config.storage.base.filter(|base| base.starts_with(directory))
    };
    match config::names(paths)?.iter().find_map(|name| Some((name, lies_over(name)?))) {
        None => Ok(()),
        Some((name, base)) => {
            Err(Error::new(format!("{}: guest '{name}' lies over '{}'", what(), base.display()))
                .hint(format!(
                    "first delete '{name}', or make another guest of it without a base: \
             vserver clone {name} NEW --storage directory"
                )))
        }
    }
}
