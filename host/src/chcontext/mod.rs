//! `chcontext`: commands in contexts that are no guests.
//!
//! A context has PID, mount, IPC and UTS namespaces of its own on the host's
//! root directory, network and cgroup. The command on the outside (`outside`,
//! `watch`) makes the first process, which sets the scene (`scene`) and stays
//! as a reaper (`reaper`), and sends the command in (`enter`).

mod enter;
mod flags;
mod outside;
mod reaper;
mod report;
mod scene;
mod spectator;
mod watch;

pub use enter::execute;
pub use flags::{Meaning, meaning};
pub use outside::{Made, Wish, run};
pub use spectator::become_spectator;
