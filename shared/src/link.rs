//! Typed messages over a `SOCK_SEQPACKET` socket.
//!
//! One packet is one message: the kernel keeps the borders, so a peer that
//! sends nonsense spoils that message only. A packet that is too long, can't
//! be decoded or has bytes left over is [`RecvError::Nonsense`], never a
//! panic. Sending never blocks: a full socket is [`SendError::Full`]. Messages
//! are enums, since one that encodes to nothing (a unit structure) would look
//! like the end of the connection.

use core::marker::PhantomData;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{self, ControlMessage, MsgFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message in bytes; anything longer is refused on both sides.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// A socket on which `Out` goes out and `In` comes in.
#[derive(Debug)]
pub struct Link<Out, In> {
    socket: OwnedFd,
    kinds: PhantomData<fn(Out) -> In>,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The peer doesn't read; try again when the socket is writable.
    Full,
    /// The peer is gone.
    Closed,
    /// The message is longer than [`MAX_MESSAGE`].
    TooLong,
    /// Any other error of send(2).
    Os(Errno),
}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// Nothing there now.
    Empty,
    /// The peer is gone.
    Closed,
    /// A packet that is not a message; it has been taken off the socket.
    Nonsense,
    /// A packet that brings descriptors, to a receiver that wants none. It is
    /// still there: dropping the last reference to one can wait for as long as
    /// its sender likes (a TCP socket with SO_LINGER, socket(7)), so whoever
    /// doesn't trust the peer reads no more.
    Descriptors,
    /// Any other error of recv(2).
    Os(Errno),
}

impl<Out: Serialize, In: DeserializeOwned> Link<Out, In> {
    /// Takes over one end of a `SOCK_SEQPACKET` socket pair or connection.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, kinds: PhantomData }
    }

    /// Gives the socket back.
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    /// Sends one message without blocking.
    ///
    /// # Errors
    /// See [`SendError`]. Nothing is sent in part.
    pub fn send(&self, message: &Out) -> Result<(), SendError> {
        self.send_with_fds(message, &[])
    }

    /// Sends one message together with descriptors (`SCM_RIGHTS`, unix(7)).
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send_with_fds(&self, message: &Out, fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let bytes = encode(message).ok_or(SendError::TooLong)?;
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let iov = [IoSlice::new(&bytes)];
        loop {
            let sent = socket::sendmsg::<()>(self.socket.as_raw_fd(), &iov, control, flags, None);
            return match sent {
                Ok(_) => Ok(()),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => Err(SendError::Full),
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => Err(SendError::Closed),
                Err(other) => Err(SendError::Os(other)),
            };
        }
    }

    /// Receives one message if there is one, without blocking.
    ///
    /// # Errors
    /// See [`RecvError`].
    pub fn recv(&self) -> Result<In, RecvError> {
        // The length first (recv(2), MSG_TRUNC): guest-init is to touch no more
        // memory than its small messages need.
        let length = self.take(&mut [], MsgFlags::MSG_PEEK)?;
        let mut buffer = vec![0u8; length.min(MAX_MESSAGE)];
        let length = self.take(&mut buffer, MsgFlags::empty())?;
        let packet = buffer.get(..length).ok_or(RecvError::Nonsense)?;
        decode(packet).ok_or(RecvError::Nonsense)
    }

    /// Reads the next packet, or a part of it; returns its whole length.
    fn take(&self, buffer: &mut [u8], how: MsgFlags) -> Result<usize, RecvError> {
        let flags = how | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        loop {
            let mut iov = [IoSliceMut::new(buffer)];
            // There is no room for descriptors: the kernel says so, and a
            // look takes no reference away.
            return match socket::recvmsg::<()>(self.socket.as_raw_fd(), &mut iov, None, flags) {
                Ok(got) if got.flags.contains(MsgFlags::MSG_CTRUNC) => Err(RecvError::Descriptors),
                Ok(got) if got.bytes == 0 => Err(RecvError::Closed),
                Ok(got) => Ok(got.bytes),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Err(RecvError::Empty),
                Err(Errno::ECONNRESET | Errno::ENOTCONN) => Err(RecvError::Closed),
                Err(other) => Err(RecvError::Os(other)),
            };
        }
    }
}

impl<Out: Serialize, In: DeserializeOwned> Link<Out, In> {
    /// Receives one message with the descriptors that came with it (at most
    /// [`MAX_FDS`]), without blocking. They are close-on-exec.
    ///
    /// # Errors
    /// See [`RecvError`].
    pub fn recv_with_fds(
        &self,
        adopt: impl Fn(RawFd) -> OwnedFd,
    ) -> Result<(In, Vec<OwnedFd>), RecvError> {
        let mut buffer = vec![0u8; MAX_MESSAGE + 1];
        let mut control = nix::cmsg_space!([RawFd; MAX_FDS]);
        let mut fds = Vec::new();
        let (length, truncated) = {
            let mut iov = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let raw = self.socket.as_raw_fd();
            let got = socket::recvmsg::<()>(raw, &mut iov, Some(&mut control), flags);
            let got = match got {
                Ok(got) => got,
                Err(Errno::EAGAIN | Errno::EINTR) => return Err(RecvError::Empty),
                Err(Errno::ECONNRESET | Errno::ENOTCONN) => return Err(RecvError::Closed),
                Err(other) => return Err(RecvError::Os(other)),
            };
            for message in got.cmsgs().map_err(RecvError::Os)? {
                if let socket::ControlMessageOwned::ScmRights(received) = message {
                    fds.extend(received.into_iter().map(&adopt));
                }
            }
            let lost = got.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
            (got.bytes, lost)
        };
        if length == 0 {
            return Err(RecvError::Closed);
        }
        let packet = buffer.get(..length).ok_or(RecvError::Nonsense)?;
        let message = decode(packet).filter(|_| !truncated).ok_or(RecvError::Nonsense)?;
        Ok((message, fds))
    }
}

/// Most descriptors that one message can carry.
pub const MAX_FDS: usize = 8;

impl<Out, In> AsFd for Link<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The bytes of a message; `None` when they are more than [`MAX_MESSAGE`].
pub fn encode<T: Serialize>(message: &T) -> Option<Vec<u8>> {
    postcard::to_allocvec(message).ok().filter(|bytes| bytes.len() <= MAX_MESSAGE)
}

/// Reads a message; `None` unless the bytes are one message and no more.
pub fn decode<T: DeserializeOwned>(packet: &[u8]) -> Option<T> {
    if packet.len() > MAX_MESSAGE {
        return None;
    }
    match postcard::take_from_bytes(packet) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}
