//! What vserver's programs say to each other, and the words they share.
//!
//! Three programs meet here: the **supervisor** (one per running guest, on
//! the host, holds all policy), the **keeper** (one per running guest, on the
//! host, parent of the guest's PID 1) and **guest-init** (PID 1 inside). This
//! crate holds their messages, the stages of a start, the ways a process can
//! end, and the rules for names. It does no I/O beyond [`link`].

#![forbid(unsafe_code)]

pub mod keeper;
pub mod link;
pub mod message;
pub mod name;
pub mod outcome;
pub mod stage;
