//! How requests and events cross the control socket: in packets that say of which
//! version they are, so that after an upgrade command and supervisor know of each other
//! that they have not the same words, and don't take one for another.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::link::{self, Link, RecvError, SendError};

/// The version of [`super::Request`], [`super::Event`] and all that they hold: another
/// one with every change of their form, of which a test knows.
pub const VERSION: u32 = 1;

/// What is the same in all versions.
#[derive(Debug, Serialize, Deserialize)]
struct Packet {
    version: u32,
    message: Vec<u8>,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Wire<Out, In> {
    link: Link<Packet, Packet>,
    kinds: PhantomData<fn(Out) -> In>,
}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// The peer is of this other version; its message has been taken off the socket.
    Version(u32),
    /// As everywhere.
    Link(RecvError),
}

impl<Out: Serialize, In: DeserializeOwned> Wire<Out, In> {
    /// Takes over one end of a socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self { link: Link::new(socket), kinds: PhantomData }
    }

    /// Sends one message without blocking.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn send(&self, message: &Out) -> Result<(), SendError> {
        let message = link::encode(message).ok_or(SendError::TooLong)?;
        self.link.send(&Packet { version: VERSION, message })
    }

    /// Tells a peer of another version that this one is none of its own.
    pub fn refuse(&self) {
        let _ = self.link.send(&Packet { version: VERSION, message: Vec::new() });
    }

    /// Receives one message if there is one, without blocking.
    ///
    /// # Errors
    /// See [`Unheard`].
    pub fn recv(&self) -> Result<In, Unheard> {
        let packet = self.link.recv().map_err(Unheard::Link)?;
        if packet.version != VERSION {
            return Err(Unheard::Version(packet.version));
        }
        link::decode(&packet.message).ok_or(Unheard::Link(RecvError::Nonsense))
    }
}

impl<Out, In> AsFd for Wire<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

impl<Out, In> AsRawFd for Wire<Out, In> {
    fn as_raw_fd(&self) -> RawFd {
        self.link.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Event, Request, samples};
    use crate::runtime;

    #[test]
    fn another_version_is_told_from_nonsense() {
        let (ours, theirs) = runtime::pair().unwrap();
        let supervisor: Wire<Event, Request> = Wire::new(ours);
        let theirs: Link<Packet, Packet> = Link::new(theirs);
        let message = link::encode(&Request::Status).unwrap();
        for (version, message, heard) in [
            (VERSION, message.clone(), Ok(Request::Status)),
            (VERSION + 1, message, Err(Unheard::Version(VERSION + 1))),
            (VERSION + 1, Vec::new(), Err(Unheard::Version(VERSION + 1))),
            (VERSION, Vec::new(), Err(Unheard::Link(RecvError::Nonsense))),
        ] {
            theirs.send(&Packet { version, message }).unwrap();
            assert_eq!(supervisor.recv(), heard);
        }
        supervisor.refuse();
        assert_eq!(theirs.recv().unwrap().version, VERSION);
    }

    /// Whoever changes a form gives it another version: an upgrade meets the old one.
    #[test]
    fn forms_are_those_of_the_version() {
        let mut form = String::new();
        for bytes in samples::encoded() {
            for byte in bytes {
                form.push_str(&format!("{byte:02x}"));
            }
            form.push('\n');
        }
        let known = include_str!("version-1.txt");
        assert_eq!(VERSION, 1, "the file has the version in its name, too");
        assert_eq!(form, known, "give VERSION another number, and write this into its file");
    }
}
