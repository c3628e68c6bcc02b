//! The console in the host's journal, a message a line.
//!
//! journald keeps the stream over its own restarts. What it doesn't take at
//! once is lost: nobody inside may wait for it.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::write;

/// Writes to a stream that the launcher has opened.
pub struct Journal {
    stream: Option<OwnedFd>,
    /// The end of something was lost: a line that has begun ends here.
    torn: bool,
}

impl Journal {
    pub fn new(stream: Option<OwnedFd>) -> Self {
        Self { stream, torn: false }
    }

    /// Appends bytes. Rust programs ignore SIGPIPE.
    pub fn append(&mut self, bytes: &[u8]) {
        let Some(stream) = &self.stream else { return };
        let mut text = Vec::with_capacity(bytes.len() + 1);
        text.extend(self.torn.then_some(b'\n'));
        // A terminal's lines end in two characters; for journald, NUL ends
        // one, too.
        text.extend(bytes.iter().filter(|byte| !matches!(byte, b'\r' | 0)));
        match write(stream, &text) {
            Ok(written) => self.torn = written < text.len(),
            Err(Errno::EAGAIN) => self.torn = true,
            Err(_) => self.stream = None,
        }
    }
}
