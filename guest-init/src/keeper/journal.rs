//! The console in the host's journal, a message a line.
//!
//! journald keeps the stream over its own restarts, as long as systemd has
//! been given it by then; else it is opened again. What the journal doesn't
//! take at once is lost: nobody inside may wait for it.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::write;

/// Writes to a stream.
pub struct Journal {
    stream: Option<OwnedFd>,
    /// Opens it again.
    again: Box<dyn Fn() -> Option<OwnedFd>>,
    /// The end of something was lost: a line that has begun ends here.
    torn: bool,
    /// Does what comes next begin a line?
    at_line_start: bool,
}

impl Journal {
    /// Has a stream that the launcher has opened; nothing but what `again`
    /// opens without one.
    pub fn new(stream: Option<OwnedFd>, again: impl Fn() -> Option<OwnedFd> + 'static) -> Self {
        Self { stream, again: Box::new(again), torn: false, at_line_start: true }
    }

    /// Appends bytes. Rust programs ignore SIGPIPE.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.stream.is_some() && self.write(bytes) {
            return;
        }
        // A line of a new stream is a new one in any case.
        (self.torn, self.at_line_start) = (false, true);
        self.stream = (self.again)();
        if self.stream.is_some() {
            self.write(bytes);
        }
    }

    /// Is the stream still one?
    fn write(&mut self, bytes: &[u8]) -> bool {
        let Some(stream) = &self.stream else { return false };
        let mut text = Vec::with_capacity(bytes.len() + 1);
        text.extend(self.torn.then_some(b'\n'));
        self.at_line_start |= self.torn;
        // A terminal's lines end in two characters; for journald, NUL ends
        // one, too.
        for byte in bytes.iter().filter(|byte| !matches!(byte, b'\r' | 0)) {
            // It drops a line that is empty, and keeps one that is a blank.
            text.extend((*byte == b'\n' && self.at_line_start).then_some(b' '));
            text.push(*byte);
            self.at_line_start = *byte == b'\n';
        }
        match write(stream, &text) {
            Ok(written) => self.torn = written < text.len(),
            Err(Errno::EAGAIN) => self.torn = true,
            Err(_) => self.stream = None,
        }
        self.stream.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use super::*;

    /// A journal, which opens its streams to the receivers that are put there.
    fn journal() -> (Journal, Rc<RefCell<Option<UnixStream>>>) {
        let next = Rc::new(RefCell::new(None));
        let opened = Rc::clone(&next);
        let again = move || opened.borrow_mut().take().map(OwnedFd::from);
        (Journal::new(again(), again), next)
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.set_nonblocking(true).unwrap();
        (theirs, ours)
    }

    fn text(receiver: &mut UnixStream) -> String {
        let mut text = vec![0; 4096];
        let length = receiver.read(&mut text).unwrap_or(0);
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_stream_that_is_lost_is_opened_again() {
        let (mut journal, next) = journal();
        journal.append(b"nobody hears\n");
        let (stream, mut first) = pair();
        next.replace(Some(stream));
        journal.append(b"one\r\0\n");
        assert_eq!(text(&mut first), "one\n");

        let (stream, mut second) = pair();
        next.replace(Some(stream));
        journal.append(b"two\n");
        assert_eq!((text(&mut first), text(&mut second)), ("two\n".into(), String::new()));
        drop(first);
        journal.append(b"three\n");
        assert_eq!(text(&mut second), "three\n", "whole, also that which found it gone");

        drop(second);
        journal.append(b"lost\n");
        let (stream, mut third) = pair();
        next.replace(Some(stream));
        journal.append(b"four\n");
        assert_eq!(text(&mut third), "four\n");
    }

    #[test]
    fn empty_lines_are_a_blank() {
        let (mut journal, next) = journal();
        let (stream, mut receiver) = pair();
        next.replace(Some(stream));
        // Whatever pieces they come in.
        for piece in ["\r\n", "a", "\r", "\n", "\n\nb\n", "", "\n", " \n", "c\n"] {
            journal.append(piece.as_bytes());
        }
        assert_eq!(text(&mut receiver), " \na\n \n \nb\n \n \nc\n");
        drop(receiver);
        let (stream, mut receiver) = pair();
        next.replace(Some(stream));
        journal.append(b"\nd");
        assert_eq!(text(&mut receiver), " \nd", "a new stream begins with a line");
    }

    #[test]
    fn what_is_not_taken_at_once_is_lost_and_its_line_ends() {
        let (mut journal, next) = journal();
        let (stream, mut receiver) = pair();
        next.replace(Some(stream));
        let long = [b'x'; 4096];
        for _ in 0..1000 {
            journal.append(&long);
        }
        while !text(&mut receiver).is_empty() {}
        journal.append(b"next\n");
        assert_eq!(text(&mut receiver), "\nnext\n");
    }
}
