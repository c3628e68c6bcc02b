//! What a layer of an image removes from those below it (OCI image
//! specification, layer.md, "Whiteouts"): `.wh.NAME` the name beside it,
//! `.wh..wh..opq` all that was in its directory. What the layer itself brings
//! stays, in whatever order it comes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::Result;
use crate::fsroot::{names_in, remove_tree};

use super::extract::{Extractor, inside};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Nothing is looked into deeper than this.
const MAX_DEPTH: usize = 64;

impl Extractor<'_> {
    /// Removes what an entry of this name stands for; false when it stands
    /// for itself.
    ///
    /// # Errors
    /// When the name leads outside, or the system refuses.
    pub(in crate::build) fn whiteout(&mut self, name: &[u8]) -> Result<bool> {
        let path = inside(name)?;
        let Some(last) = path.file_name().map(OsStr::as_bytes) else { return Ok(false) };
        let parent = path.parent().unwrap_or(Path::new(""));
        if last == OPAQUE {
            self.clear_below(parent, 0)?;
            return Ok(true);
        }
        match last.strip_prefix(WHITEOUT) {
            // Others with this prefix are aufs's own, and no files.
            Some(rest) if rest.is_empty() || rest.starts_with(WHITEOUT) => Ok(true),
            Some(rest) if rest == b"." || rest == b".." => Ok(true),
            Some(rest) => {
                self.remove_below(&parent.join(OsStr::from_bytes(rest)), 0)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Removes a name unless this layer has made it or something in it.
    fn remove_below(&mut self, path: &Path, depth: usize) -> Result<()> {
        if self.is_of_this_layer(path) {
            return self.clear_below(path, depth);
        }
        let removed = match self.root().open_parent(path) {
            Ok((parent, name)) => remove_tree(&parent, name),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(cause) => Err(cause),
        };
        removed.map_err(|cause| self.root().error("remove", path, cause))?;
        self.forget(path);
        Ok(())
    }

    /// Removes what layers below have in a directory.
    fn clear_below(&mut self, path: &Path, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let names = match self.root().open_at(path, flags, Mode::empty()) {
            Ok(directory) => names_in(&directory),
            // There is no such directory, or this layer has put something else there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(cause) => Err(cause),
        };
        let names = names.map_err(|cause| self.root().error("read", path, cause))?;
        for name in names {
            self.remove_below(&path.join(name), depth + 1)?;
        }
        Ok(())
    }
}
