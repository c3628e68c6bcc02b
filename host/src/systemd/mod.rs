//! The host's systemd, where it is the one to start guests: each is the unit
//! `vserver@NAME.service`.
//!
//! `units` are the files that make it so, `generator` what they are completed
//! with from guests' configurations, `shares` among them, `known` what systemd has
//! heard of that, `settings` what administrators add. `manager` asks systemd for something, in
//! commands only; `notify` is how the supervisor tells it how the guest is.
//! `guard` does for systemd before 254 what that can't.

mod generator;
pub mod guard;
mod known;
mod manager;
mod notify;
mod question;
mod settings;
mod shares;
mod units;

pub use generator::{Description, File, describe, files};
pub use known::are_known;
pub use manager::{
    Unit, come, enable, go, installed_in, is_being_stopped, is_to_start, look, reload,
    reset_failed, revive, settle, start, starts_any, starts_guests, stop, version,
};
pub use notify::Notifier;
pub use settings::{is_enabled, is_linked, settings};
pub use shares::{known_shares, shares, tell_shares};
pub use units::{GENERATOR, texts};
