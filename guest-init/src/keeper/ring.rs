//! The ring: a file with the console's last bytes, so that they cost no
//! memory of the keeper's and can be read without it.

use std::os::fd::OwnedFd;

use nix::sys::uio::{pread, pwrite};
use shared::keeper::{RING_HEADER, RING_SIZE};

/// Writes to the ring file. Errors are ignored: a full disk must not stop a
/// guest's console.
pub struct Ring {
    file: OwnedFd,
    /// Bytes ever written.
    total: u64,
}

impl Ring {
    /// A ring that goes on where it ended.
    pub fn new(file: OwnedFd) -> Self {
        let mut total = [0; RING_HEADER];
        let got = pread(&file, &mut total, 0);
        // One whose beginning can't be read is begun anew.
        let total = if got == Ok(RING_HEADER) { u64::from_le_bytes(total) } else { 0 };
        Self { file, total }
    }

    /// Appends bytes, fewer than the ring has.
    pub fn append(&mut self, bytes: &[u8]) {
        let offset = (self.total % RING_SIZE as u64) as usize;
        let first = bytes.len().min(RING_SIZE - offset);
        let (head, tail) = bytes.split_at(first);
        let _ = pwrite(&self.file, head, (RING_HEADER + offset) as i64);
        if !tail.is_empty() {
            let _ = pwrite(&self.file, tail, RING_HEADER as i64);
        }
        self.total += bytes.len() as u64;
        let _ = pwrite(&self.file, &self.total.to_le_bytes(), 0);
    }

    /// Hands out what the ring holds, oldest first, in pieces.
    pub fn replay(&self, mut give: impl FnMut(&[u8])) {
        let size = RING_SIZE as u64;
        let mut position = self.total.saturating_sub(size);
        let mut buffer = [0u8; 2048];
        while position < self.total {
            let offset = position % size;
            let length = (self.total - position).min(size - offset).min(buffer.len() as u64);
            let Some(piece) = buffer.get_mut(..length as usize) else { return };
            match pread(&self.file, piece, RING_HEADER as i64 + offset as i64) {
                Ok(0) | Err(_) => return,
                Ok(got) => {
                    give(piece.get(..got).unwrap_or_default());
                    position += got as u64;
                }
            }
        }
    }
}
