//! Contexts without guests: their numbers, and which of them run.
//!
//! Made and joined by `chcontext`. Root's contexts have a number that others
//! find them by (`registry`); an ordinary user's live in a user namespace and
//! can't be joined.

mod number;
mod own;
mod registry;
mod shown;
mod status;

pub use number::{FIRST_DYNAMIC, HOST, LAST, SPECTATOR, dynamic, is_static, loopback, loopback6};
pub use own::{own_number, source};
pub use registry::{Contexts, Entry, Record, Registry, init_of, pid_namespace};
pub use shown::{Shown, own_addresses};
pub use status::{address_lines, status_lines};
