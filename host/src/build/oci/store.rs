//! The files of an image, each checked against its digest and length before
//! it counts.
//!
//! An archive is unpacked beside the root first, in the workspace: an index
//! may stand behind the layers that it names.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, DigestAlgorithm};
use sha2::{Digest, Sha256};

use crate::archive::{Summed, hex};
use crate::build::Work;
use crate::build::unpack::{self, Counted, Extractor, Shift, Watched};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;

/// No index, manifest or configuration is longer (the limit of registries).
const LONGEST: usize = 4 * 1024 * 1024;

/// An image's files.
pub(super) struct Store {
    root: RootDir,
    /// Removed when dropped.
    _scratch: Option<Scratch>,
}

impl Store {
    /// Opens a directory, or unpacks an archive.
    pub(super) fn open(path: &Path, work: &mut Work<'_>) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self { root: RootDir::open(path)?, _scratch: None });
        }
        let scratch = Scratch::new(work)?;
        let root = RootDir::open(&scratch.0)?;
        match std::fs::metadata(path) {
            Ok(metadata) => work.progress.bytes("unpacking", metadata.len()),
            Err(_) => work.progress.unmeasured("unpacking"),
        }
        let position = Counted::default();
        let source = Watched::new(unpack::input(path)?, &position, work.interrupt);
        let mut extractor = Extractor::new(&root, work.interrupt, Some(Shift::default()));
        unpack::walk(unpack::decompressed(source)?, &mut |entry, data| {
            work.progress.at(position.get());
            extractor.extract(&entry, data)
        })?;
        extractor.finish()?;
        Ok(Self { root, _scratch: Some(scratch) })
    }

    /// A file by its name; `None` when there is none.
    pub(super) fn file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.root.read(name, LONGEST)
    }

    /// What a descriptor stands for, read whole.
    pub(super) fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let (digest, path) = place(descriptor)?;
        let bytes = self.root.read(&path, LONGEST)?.ok_or_else(|| missing(digest))?;
        if bytes.len() as u64 != descriptor.size() || hex(&Sha256::digest(&bytes)) != digest {
            return Err(damaged(digest));
        }
        Ok(bytes)
    }

    /// A layer, to be read with [`Summed`].
    pub(super) fn layer(&self, descriptor: &Descriptor) -> Result<File> {
        let (digest, path) = place(descriptor)?;
        let file = self.root.open_file(&path)?.ok_or_else(|| missing(digest))?;
        let length = file.metadata().map_err(|cause| Error::os("cannot examine it", cause))?.len();
        if length != descriptor.size() {
            return Err(damaged(digest));
        }
        Ok(file)
    }

    /// A layer by its name, for forms without descriptors.
    pub(super) fn layer_named(&self, name: &str) -> Result<File> {
        self.root.open_file(name)?.ok_or_else(|| missing(name))
    }
}

/// The digest and where the layout has it (OCI image specification,
/// image-layout.md).
fn place(descriptor: &Descriptor) -> Result<(&str, PathBuf)> {
    let digest = descriptor.digest();
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => {
            Ok((digest.digest(), Path::new("blobs/sha256").join(digest.digest())))
        }
        other => Err(Error::new(format!("digests by '{other}' are not understood"))),
    }
}

fn missing(what: &str) -> Error {
    Error::new(format!("the image lacks '{}'", what.escape_debug()))
}

/// The error for what isn't what its digest says.
pub(super) fn damaged(digest: &str) -> Error {
    Error::new(format!(
        "'{digest}' of the image is damaged: it has another content than its digest says"
    ))
}

/// Reads the rest of a stream; gives the sum of all.
pub(super) fn sum(mut stream: Summed<Box<dyn Read>>) -> Result<String> {
    io::copy(&mut stream, &mut io::sink()).map_err(|cause| Error::os("cannot read it", cause))?;
    Ok(stream.sum())
}

/// A directory in the workspace, which only root can look into.
struct Scratch(PathBuf);

impl Scratch {
    fn new(work: &Work<'_>) -> Result<Self> {
        let path = work.root.path().with_file_name("image");
        std::fs::create_dir(&path)
            .map_err(|cause| Error::path("create directory", &path, cause))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The workspace around it is removed anyway.
        let _ = crate::build::workspace::remove_path(&self.0);
    }
}
