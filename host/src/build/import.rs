//! A guest out of an archive of `vserver export`. The archive may come from
//! anybody, as any other; it is laid into the root by the same code.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::archive::{ACTIONS, CONFIG, DIGEST, FIRST, LONGEST_PATH, MANIFEST, REMOVED, ROOT};
use crate::archive::{Head, Manifest, Summed};
use crate::error::{Error, Result};

use super::unpack::{Counted, Extractor, Kind, Shift, Watched};
use super::unpack::{decompressed, fill, input, remarks, unreadable, walk};
use super::{Work, template};
use crate::interrupt::Interrupt;

/// No manifest, configuration or script of actions is longer.
const LONGEST: u64 = 4 * 1024 * 1024;

/// A digest with its line's end.
const DIGEST_LENGTH: u64 = 65;

const BLOCK: usize = 512;

/// An archive of which what precedes the files was read.
pub struct Incoming {
    head: Head,
    plain: Summed<Box<dyn Read>>,
    position: Counted,
    /// The length of the file, if it is one.
    length: Option<u64>,
    shown: String,
    /// Told when the files of a guest that yet runs are there.
    first_part: Box<dyn Fn() -> Result<()>>,
}

/// What comes next in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The only part.
    Whole,
    /// Files of a guest that runs.
    First,
    /// What has gone from among them.
    Removed,
    /// What has changed of them.
    Second,
    /// Nothing: it has all come.
    End,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Incoming {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// When it can't be read, or isn't an archive of `vserver export`.
    pub fn open(path: &Path, interrupt: &Interrupt) -> Result<Self> {
        let shown = template::shown(path);
        let opened = Self::read(path, interrupt, &shown);
        interrupt.check()?;
        opened.map_err(|error| error.context(format_args!("cannot import {shown}")))
    }

    fn read(path: &Path, interrupt: &Interrupt, shown: &str) -> Result<Self> {
        let file = input(path)?;
        let length = file.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
        let position = Counted::default();
        let mut plain = Summed::new(decompressed(Watched::new(file, &position, interrupt))?);
        let manifest = Manifest::parse(&text(member(&mut plain, MANIFEST)?.0)?)?;
        let config = text(member(&mut plain, CONFIG)?.0)?;
        let actions = if manifest.actions { Some(member(&mut plain, ACTIONS)?) } else { None };
        let head = Head { manifest, config, actions };
        let first_part = Box::new(|| Ok(()));
        Ok(Self { head, plain, position, length, shown: shown.to_owned(), first_part })
    }

    /// Calls this when the first part of an archive in two is unpacked: whoever
    /// sends it waits for that, and then stops the guest.
    #[must_use]
    pub fn tell_first_part(mut self, told: impl Fn() -> Result<()> + 'static) -> Self {
        self.first_part = Box::new(told);
        self
    }

    /// What precedes the files.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Lays the files into the root.
    pub(super) fn fill(self, work: &mut Work<'_>) -> Result<String> {
        match self.length {
            Some(length) => work.progress.bytes("importing", length),
            None => work.progress.unmeasured("importing"),
        }
        let filled = self.lay(work);
        work.interrupt.check()?;
        filled.map_err(|error| error.context(format_args!("cannot import {}", self.shown)))?;
        Ok(format!("guest '{}' in {}", self.head.manifest.name, self.shown))
    }

    fn lay(&self, work: &mut Work<'_>) -> Result<()> {
        // Its numbers are the guest's own, whatever they are.
        let shift = Some(Shift::default());
        let mut extractor = Extractor::new(work.root, work.interrupt, shift).faithful();
        let mut next = if self.head.manifest.is_in_parts() { Next::First } else { Next::Whole };
        walk(Box::new(self.plain.share()), &mut |mut entry, data| {
            work.progress.at(self.position.get());
            match (next, entry.name.as_slice()) {
                (Next::End, _) => return Err(Error::new("it goes on after its end")),
                (Next::Whole | Next::Second, name) if name == DIGEST.as_bytes() => {
                    next = Next::End;
                    return self.compare(data);
                }
                (Next::First, name) if name == FIRST.as_bytes() => {
                    next = Next::Removed;
                    return (self.first_part)();
                }
                (Next::Removed, name) if name == REMOVED.as_bytes() => {
                    next = Next::Second;
                    return remove(data, &mut extractor);
                }
                (Next::Removed, _) => {
                    return Err(Error::new("it doesn't say what has been removed meanwhile"));
                }
                _ => {}
            }
            entry.name = below_root(&entry.name)?;
            if let Kind::HardLink(target) = &mut entry.kind {
                *target = below_root(target)?;
            }
            extractor.extract(&entry, data)
        })?;
        if next != Next::End {
            return Err(Error::new("it is cut off"));
        }
        // Whoever compressed it may have a sum of its own at the end, and who
        // writes into a pipe wants to be read.
        io::copy(&mut self.plain.share(), &mut io::sink()).map_err(unreadable)?;
        work.remarks.extend(remarks(&extractor.finish()?));
        Ok(())
    }

    /// Is the sum of what was read until now the one that stands here?
    fn compare(&self, data: &mut dyn Read) -> Result<()> {
        let sum = self.plain.sum();
        let mut told = String::new();
        let read = data.take(DIGEST_LENGTH).read_to_string(&mut told);
        read.map_err(unreadable)?;
        if told.trim_end() == sum {
            return Ok(());
        }
        Err(Error::new("it is damaged: its checksum is another one"))
    }
}

/// Removes what has gone from a guest since the first part was written.
fn remove(data: &mut dyn Read, extractor: &mut Extractor<'_>) -> Result<()> {
    let mut data = BufReader::new(data);
    loop {
        let mut name = Vec::new();
        let read = (&mut data).take(LONGEST_PATH as u64).read_until(0, &mut name);
        read.map_err(unreadable)?;
        match name.pop() {
            None => return Ok(()),
            Some(0) => extractor.remove(&name)?,
            Some(_) => return Err(Error::new("a path in it has no end")),
        }
    }
}

/// A member's name without the directory of the guest's files.
fn below_root(name: &[u8]) -> Result<Vec<u8>> {
    name.strip_prefix(ROOT.as_bytes()).map(<[u8]>::to_vec).ok_or_else(|| {
        let name = String::from_utf8_lossy(name);
        Error::new(format!("its entry '{}' is none of a guest's", name.escape_debug()))
    })
}

/// The next member, which must have this name and nothing before its header:
/// its content and permissions. Nothing behind it is read.
fn member(from: &mut dyn Read, name: &str) -> Result<(Vec<u8>, u32)> {
    let foreign = || {
        Error::new("it is no archive that 'vserver export' has written").hint(
            "'vserver build NAME --method template --from FILE' makes a guest of other archives",
        )
    };
    let mut block = [0; BLOCK];
    if fill(from, &mut block).map_err(unreadable)? < BLOCK {
        return Err(foreign());
    }
    let header = tar_core::Header::from_bytes(&block);
    if header.verify_checksum().is_err() || header.path_bytes() != name.as_bytes() {
        return Err(foreign());
    }
    let length = header.entry_size().map_err(|_| foreign())?;
    let mode = header.mode().map_err(|_| foreign())? & 0o777;
    if length > LONGEST {
        return Err(Error::new(format!("its '{name}' is longer than {LONGEST} bytes")));
    }
    let padded = length.next_multiple_of(BLOCK as u64);
    let mut bytes = Vec::new();
    from.take(padded).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 != padded {
        return Err(Error::new("it is cut off"));
    }
    bytes.truncate(usize::try_from(length).unwrap_or(0));
    Ok((bytes, mode))
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::new("its configuration is no text"))
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
