//! The host's systemd-machined, where there is one: guests that are units of
//! systemd are its machines (machinectl(1)).
//!
//! `machine` decides, `bus` talks to it. Supervisors never do: each has a
//! [`Helper`], another process of this program, which may wait for D-Bus.
//! Nothing of a guest depends on any of this.

mod bus;
mod helper;
mod leader;
mod machine;

pub use bus::settle;
pub use helper::{End, Helper, PATIENCE, Wanted, is_reachable};
pub use leader::Leader;
pub use machine::{Machine, can_bear};
