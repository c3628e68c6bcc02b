//! Finds supervisors of guests that have none, or starts them, while others are
//! listened to: that may take as long as a keeper that doesn't answer.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use shared::name::GuestName;

use crate::error::{Error, Result};
use crate::paths::Paths;

use super::Client;

/// So many are looked for at a time.
const AT_A_TIME: usize = 16;

/// What [`Client::connect`] has given for this guest.
type Found = (GuestName, Result<Option<Client>>);

/// Looks for supervisors, each in a thread of its own.
#[derive(Debug)]
pub struct Finder {
    /// A byte for each that is found, written after it.
    bell: PipeReader,
    rope: Arc<PipeWriter>,
    finds: Receiver<Found>,
    finder: Sender<Found>,
    busy: usize,
}

impl Finder {
    /// # Errors
    /// When this process has no descriptors left.
    pub fn new() -> Result<Self> {
        let (bell, rope) = io::pipe().map_err(|e| Error::os("cannot make a pipe", e))?;
        let (finder, finds) = channel();
        Ok(Self { bell, rope: Arc::new(rope), finds, finder, busy: 0 })
    }

    /// Looks for this guest's. Is there room for that now?
    ///
    /// # Errors
    /// When there can't be another thread.
    pub fn start(&mut self, paths: &Paths, name: &GuestName) -> Result<bool> {
        if self.busy >= AT_A_TIME {
            return Ok(false);
        }
        let (paths, guest, finder) = (paths.clone(), name.clone(), self.finder.clone());
        let rope = Arc::clone(&self.rope);
        let find = move || {
            let found = Client::connect(&paths, &guest);
            // Nobody may want to know any more.
            let _ = finder.send((guest, found));
            let _ = (&*rope).write_all(b".");
        };
        thread::Builder::new().spawn(find).map_err(|error| {
            Error::os(format_args!("cannot look for the supervisor of guest '{name}'"), error)
        })?;
        self.busy += 1;
        Ok(true)
    }

    /// What has been found meanwhile.
    pub fn found(&mut self) -> Option<Found> {
        let found = self.finds.try_recv().ok()?;
        let _ = self.bell.read(&mut [0]);
        self.busy -= 1;
        Some(found)
    }
}

impl AsFd for Finder {
    /// Can be read when something has been found.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
