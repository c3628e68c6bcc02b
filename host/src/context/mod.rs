//! Contexts without guests: `chcontext`.

mod number;
mod registry;

pub use number::{FIRST_DYNAMIC, HOST, LAST, SPECTATOR, dynamic, is_static};
pub use registry::{Contexts, Entry, Record, Registry, init_of, pid_namespace};
