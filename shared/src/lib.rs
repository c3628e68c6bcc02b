//! What vserver's programs say to each other, and the words they share.
//!
//! Three programs meet here: the **supervisor** (one per running guest, on
//! the host, holds all policy), the **keeper** (one per running guest, on the
//! host, parent of the guest's PID 1) and **guest-init** (PID 1 inside). This
//! crate holds their messages, the stages of a start, the ways a process can
//! end, and the rules for names. [`reducecap`] is what the program of that
//! name and `vserver reducecap` share. Nothing else than it, [`link`] and
//! [`journal`] does I/O.

#![forbid(unsafe_code)]

pub mod capability;
pub mod family;
pub mod journal;
pub mod keeper;
pub mod leader;
pub mod link;
pub mod message;
pub mod name;
pub mod outcome;
pub mod reducecap;
pub mod stage;
