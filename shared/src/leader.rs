//! The leader of a machine: a process in a guest whose PID 1 doesn't know the
//! signals by which machinectl(1) asks for a shutdown. It hears them in PID 1's
//! place, and tells the supervisor.

use serde::{Deserialize, Serialize};

use crate::message::Power;

/// Argument 0 of guest-init as a leader, whose end of the link is descriptor
/// [`LINK_FD`](crate::message::LINK_FD).
pub const LEADER_NAME: &str = "vserver-leader";

/// To the supervisor. The guest's root can send either as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromLeader {
    /// There is one now, with this pid on the host; from the process that has
    /// started it.
    Born(i32),
    /// The host wants the guest to shut down.
    Asked(Power),
}
