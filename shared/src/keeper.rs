//! What a supervisor and a keeper say to each other.
//!
//! The keeper listens on `SOCK_SEQPACKET` in the guest's run directory. One
//! supervisor at a time is served; others wait until it has gone. On
//! connection the keeper sends [`FromKeeper::Hello`] with all that it holds,
//! so that a supervisor can put another keeper in the place of one that is
//! killed; and when PID 1 has ended (also if it had ended before),
//! [`FromKeeper::Ended`], or [`FromKeeper::EndedUnseen`] if this keeper isn't
//! PID 1's parent, but took the place of the one that was. The keeper lives
//! until it is told [`ToKeeper::Release`] after that.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// Version of these messages.
pub const KEEPER_PROTOCOL: u16 = 1;

/// Descriptors that the launcher leaves to the keeper, by number. What a
/// guest doesn't have (a console) is `/dev/null`. They mean the same in every
/// version: from a keeper of another one they are taken.
pub mod fd {
    /// Listening socket for supervisors, `SOCK_SEQPACKET`.
    pub const SUPERVISORS: i32 = 3;
    /// Listening socket for console clients, `SOCK_STREAM`.
    pub const CONSOLES: i32 = 4;
    /// The host's end of the link to guest-init.
    pub const LINK: i32 = 5;
    /// Master of the console's pseudo-terminal.
    pub const CONSOLE: i32 = 6;
    /// Directory of the console log, opened for reading.
    pub const LOG_DIRECTORY: i32 = 7;
    /// The ring: a file in the run directory with the console's last bytes.
    pub const RING: i32 = 8;
    /// A link of an eBPF program for a guest on the host's network, which
    /// stays attached as long as this is open. The keeper only hands it on;
    /// other guests leave the number free.
    pub const LOOKUP: i32 = 9;
    /// A stream to the host's journal, not open where the console doesn't go
    /// there.
    pub const JOURNAL: i32 = 10;
    /// Datagram socket of the guest's own init (sd_notify(3)); the keeper hands
    /// it on and never reads it.
    pub const NOTIFY: i32 = 11;
    /// As [`LOOKUP`], of the program that counts processes; not open where the
    /// kernel has none.
    pub const FORKS: i32 = 12;
    /// Refers to PID 1 (pidfd_open(2)).
    pub const INIT: i32 = 13;
}

/// Size of the console ring in bytes.
pub const RING_SIZE: usize = 64 * 1024;

/// Bytes of the ring file before the data: the total number of bytes ever
/// written, as a little-endian 64-bit number. The byte at position `p` of the
/// output is at file offset `RING_HEADER + p % RING_SIZE`.
pub const RING_HEADER: usize = 8;

/// The keeper's arguments, given as `keeper INIT_PID LOG_NAME LOG_LIMIT
/// [IDENTIFIER UNIT]` (argument 0 is `keeper`): host pid of the guest's PID 1,
/// name of the log in the log directory, and its largest size in bytes before
/// it is rotated to `LOG_NAME.1` (0: no log); where the console goes to the
/// journal, the names by which the keeper opens its stream again
/// ([`crate::journal::stream`]).
pub const KEEPER_NAME: &str = "keeper";

/// From the supervisor to the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToKeeper {
    /// The end of PID 1 is known and recorded: the keeper may go. Ignored
    /// while PID 1 lives.
    Release,
    /// Take supervisors and console clients there from now on: carries two
    /// listening sockets, `[supervisors, consoles]`, in the place of those that
    /// somebody has removed. A keeper of before this message ignores it.
    Listen,
}

/// From the keeper to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromKeeper {
    /// First message of a connection; carries [`HANDED`] descriptors: `[link,
    /// console, notify, init, lookup, forks]`. What there isn't is `/dev/null`.
    Hello {
        /// [`KEEPER_PROTOCOL`] of the keeper.
        protocol: u16,
        /// The keeper's own pid.
        pid: i32,
        /// Host pid of the guest's PID 1.
        init_pid: i32,
    },
    /// PID 1 has ended.
    Ended(Outcome),
    /// PID 1 has ended; how only its parent could know.
    EndedUnseen,
}

/// Descriptors that come with [`FromKeeper::Hello`].
pub const HANDED: usize = 6;
