//! The sum of what goes through.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use sha2::{Digest, Sha256};

/// A stream whose clones go on where the others are, and that knows the
/// SHA-256 of all that was read from it or written to it.
#[derive(Debug)]
pub struct Summed<T>(Rc<RefCell<(T, Sha256)>>);

impl<T> Summed<T> {
    /// Begins with the sum of nothing.
    pub fn new(stream: T) -> Self {
        Self(Rc::new(RefCell::new((stream, Sha256::new()))))
    }

    /// The same stream.
    pub fn share(&self) -> Self {
        Self(Rc::clone(&self.0))
    }

    /// The stream itself, unless it is shared.
    pub fn into_inner(self) -> Option<T> {
        Rc::into_inner(self.0).map(|inner| inner.into_inner().0)
    }

    /// The sum so far, in hexadecimal.
    pub fn sum(&self) -> String {
        hex(&self.0.borrow().1.clone().finalize())
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        let (stream, sum) = &mut *inner;
        let length = stream.read(buffer)?;
        sum.update(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        let (stream, sum) = &mut *inner;
        let length = stream.write(bytes)?;
        sum.update(bytes.get(..length).unwrap_or_default());
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().0.flush()
    }
}

/// A digest in hexadecimal.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn what_is_written_and_read_has_the_same_sum() {
        let mut written = Summed::new(Vec::new());
        let shared = written.share();
        written.write_all(b"abc").unwrap();
        assert_eq!(shared.sum(), ABC);
        drop(shared);
        let bytes = written.into_inner().unwrap();
        let mut read = Summed::new(bytes.as_slice());
        io::copy(&mut read.share(), &mut io::sink()).unwrap();
        read.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(read.sum(), ABC);
    }
}
