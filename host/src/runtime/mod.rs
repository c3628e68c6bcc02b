//! What a running guest has under `/run/vserver`: its directory, locks,
//! sockets and state file. Everything here can be lost and is rebuilt.

mod clock;
mod lock;
mod rundir;
mod socket;
mod state;

pub use clock::now_ms;
pub use lock::Lock;
pub use rundir::{Place, RunDir};
pub use socket::{
    accept, connect, connect_at_once, connect_within, is_listened_on, is_nobodys, listen, listener,
    pair,
};
pub use state::{Order, Script, State};
