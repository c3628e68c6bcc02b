//! The host's systemd, where it is the one to start guests: each is the unit
//! `vserver@NAME.service`.
//!
//! `units` are the files that make it so, `generator` what they are completed
//! with from guests' configurations, `shares` among them, `settings` what
//! administrators add. `manager` asks systemd for something, in
//! commands only; `notify` is how the supervisor tells it how the guest is.
//! `guard` does for systemd before 254 what that can't.

mod generator;
pub mod guard;
mod manager;
mod notify;
mod settings;
mod shares;
mod units;

pub use generator::{Description, File, describe, files};
pub use manager::{
    Unit, enable, installed_in, is_being_stopped, is_enabled, is_to_start, look, reload,
    reload_if_booted, reset_failed, revive, settle, start, starts_guests, stop, version,
};
pub use notify::Notifier;
pub use settings::{is_linked, settings};
pub use shares::{known_shares, shares, tell_shares};
pub use units::{GENERATOR, texts};
