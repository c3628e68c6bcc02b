//! The files in which the kernel records a guest's processes as they end, in
//! `/var/lib/vserver/usage`.
//!
//! `NAME.pacct` is the one that the kernel writes, always at its end
//! (`O_APPEND`, kernel/acct.c), whoever looks after the guest. When it has
//! grown long, its beginning is copied to `NAME.pacct.new`, cut off, and the
//! copy becomes `NAME.pacct.1`; older ones move up to the last number and then
//! go. The cut takes the copied bytes and nothing else (fallocate(2),
//! `FALLOC_FL_COLLAPSE_RANGE`), so that no record is lost, where the file
//! system can do that (ext4, xfs). Where it can't, the file is emptied at once
//! after its end was copied: a process that ends in between has no record.
//!
//! A copy that is found under its first name is one that a crash has left. It
//! has been cut off, unless the file still begins with it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use shared::name::GuestName;

use super::acct::{self, RECORD, Record};
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Bytes after which the kernel's file is rotated: 262,144 processes.
pub const LIMIT: u64 = 16 << 20;

/// Old files that are kept.
const KEPT: u32 = 4;

/// Bytes that are read at a time; whole records.
const PIECE: usize = 1024 * RECORD;

/// The files of one guest's records.
#[derive(Clone, Debug)]
pub struct Records {
    live: PathBuf,
}

impl Records {
    /// Those of this guest; nothing is made yet.
    pub fn new(paths: &Paths, name: &GuestName) -> Self {
        Self { live: paths.process_records(name) }
    }

    /// Those whose newest is this file.
    pub fn at(live: &Path) -> Self {
        Self { live: live.to_owned() }
    }

    /// All files that there may be, the oldest first and the kernel's last.
    pub fn files(&self) -> Vec<PathBuf> {
        let old = (1..=KEPT).rev().map(|number| self.old(number));
        old.chain([self.copied(), self.live.clone()]).collect()
    }

    /// Makes the kernel's file, for the host's root alone, unless there is
    /// one.
    ///
    /// # Errors
    /// Those of mkdir(2) and open(2).
    pub fn make(&self) -> io::Result<()> {
        if let Some(directory) = self.live.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        options.open(&self.live).map(drop)
    }

    /// How long the kernel's file is; 0 if there is none.
    pub fn length(&self) -> u64 {
        fs::metadata(&self.live).map_or(0, |file| file.len())
    }

    /// Is there a file of the kernel's?
    pub fn is_there(&self) -> bool {
        self.live.exists()
    }

    /// The record that was written last; `None` if that is none of a version
    /// that can be read.
    ///
    /// # Errors
    /// Those of open(2) and read(2).
    pub fn last(&self) -> io::Result<Option<Record>> {
        let file = File::open(&self.live)?;
        let mut bytes = [0; RECORD];
        let at = file.metadata()?.len().saturating_sub(RECORD as u64);
        file.read_exact_at(&mut bytes, at)?;
        Ok(acct::parse(&bytes))
    }

    /// Rotates the files if the kernel's has `limit` bytes. Somebody who reads
    /// them isn't waited for: it is for the next time then.
    ///
    /// # Errors
    /// When a file can't be read or written. Nothing is lost then.
    pub fn rotate(&self, limit: u64) -> Result<()> {
        if self.length() < limit && !self.copied().exists() {
            return Ok(());
        }
        let failed = |error| Error::path("rotate", &self.live, error);
        let file = match OpenOptions::new().read(true).write(true).open(&self.live) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Ok(()) => {}
        }
        self.settle(&file).and_then(|()| self.rotate_locked(&file, limit)).map_err(failed)
    }

    /// Ends what a crash has interrupted.
    fn settle(&self, live: &File) -> io::Result<()> {
        match self.has_been_cut_off(live)? {
            true => self.shift(),
            false => remove(&self.copied()),
        }
    }

    fn rotate_locked(&self, live: &File, limit: u64) -> io::Result<()> {
        let metadata = live.metadata()?;
        if metadata.len() < limit {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let copy = options.write(true).create_new(true).mode(0o600).open(self.copied())?;
        // Whole blocks can be cut off, but not all that there is.
        let block = metadata.blksize().max(1);
        let length = metadata.len().saturating_sub(1) / block * block;
        let is_cut = length > 0 && block.is_multiple_of(RECORD as u64) && {
            let copied = append(live, &copy, 0, length)?;
            // Before the records are gone elsewhere.
            copy.sync_all()?;
            copied == length && cut_off(live, length)?
        };
        if !is_cut {
            empty(live, &copy)?;
        }
        self.shift()
    }

    /// Is there a copy whose records aren't in the kernel's file any more?
    fn has_been_cut_off(&self, live: &File) -> io::Result<bool> {
        let copy = match File::open(self.copied()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let (mut own, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
        let mut at = 0;
        loop {
            let length = read_at(&copy, &mut own, at)?;
            if length == 0 {
                return Ok(false);
            }
            let there = read_at(live, &mut theirs[..length], at)?;
            if own[..length] != theirs[..there] {
                return Ok(true);
            }
            at += length as u64;
        }
    }

    /// Moves every old file up, as far as there is no gap, and the copy in.
    fn shift(&self) -> io::Result<()> {
        let free = (1..KEPT).find(|number| !self.old(*number).exists()).unwrap_or(KEPT);
        for number in (1..free).rev() {
            fs::rename(self.old(number), self.old(number + 1))?;
        }
        fs::rename(self.copied(), self.old(1))
    }

    /// Hands out all records that there are, in the order in which they were
    /// written. Nothing is rotated meanwhile.
    ///
    /// # Errors
    /// When a file can't be read, or there is none.
    pub fn read(&self, mut take: impl FnMut(&Record)) -> Result<()> {
        let failed = |path: &Path, error| Error::path("read", path, error);
        let live = File::open(&self.live).map_err(|error| failed(&self.live, error))?;
        live.lock_shared().map_err(|error| failed(&self.live, error))?;
        let is_cut = self.has_been_cut_off(&live).map_err(|error| failed(&self.live, error))?;
        for path in self.files() {
            if path == self.copied() && !is_cut {
                continue;
            }
            match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other
                    .and_then(|file| each(&file, &mut take))
                    .map_err(|error| failed(&path, error))?,
            }
        }
        Ok(())
    }

    fn copied(&self) -> PathBuf {
        self.with("new")
    }

    fn old(&self, number: u32) -> PathBuf {
        self.with(&number.to_string())
    }

    fn with(&self, end: &str) -> PathBuf {
        let mut path = self.live.clone().into_os_string();
        path.push(".");
        path.push(end);
        path.into()
    }
}

fn each(file: &File, take: &mut impl FnMut(&Record)) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        let length = read_at(file, &mut piece, at)?;
        if length == 0 {
            return Ok(());
        }
        let (records, _) = piece[..length].as_chunks::<RECORD>();
        records.iter().filter_map(acct::parse).for_each(|record| take(&record));
        at += length as u64;
    }
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(length) => done += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Appends up to so many bytes; says how many there were.
fn append(mut from: &File, mut to: &File, at: u64, length: u64) -> io::Result<u64> {
    from.seek(SeekFrom::Start(at))?;
    io::copy(&mut from.take(length), &mut to)
}

/// Cuts so many bytes off the beginning; `false` where the file system can't.
fn cut_off(file: &File, length: u64) -> io::Result<bool> {
    match fallocate(file, FallocateFlags::COLLAPSE_RANGE, 0, length) {
        Ok(()) => Ok(true),
        // No such operation; blocks larger than it says; no extents.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Empties the file after the rest of it was copied.
fn empty(file: &File, copy: &File) -> io::Result<()> {
    let mut at = copy.metadata()?.len();
    at += append(file, copy, at, u64::MAX)?;
    copy.sync_all()?;
    // What came while the disk was waited for.
    while let added @ 1.. = append(file, copy, at, u64::MAX)? {
        at += added;
    }
    file.set_len(0)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
