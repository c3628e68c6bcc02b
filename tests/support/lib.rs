//! What the tests share: a temporary installation, guests in it, commands
//! with deadlines, and lists of what a host holds before and after.
//!
//! Nothing here decides whether vserver is right: that is each test's. Code
//! here panics with a sentence when a test can't go on.

mod capture;
pub mod census;
pub mod command;
mod disk;
pub mod executable;
pub mod guest;
pub mod host;
pub mod layouts;
pub mod machine;
pub mod median;
pub mod network;
pub mod place;
pub mod process;
pub mod random;
pub mod same;
mod small;
pub mod terminal;
pub mod transcript;
pub mod tree;
pub mod verbs;
pub mod wait;
pub mod witness;

pub use capture::Capture;
pub use census::Census;
pub use command::Finished;
pub use disk::Disk;
pub use guest::Guest;
pub use host::Host;
pub use median::Median;
pub use network::Network;
pub use random::random;
pub use small::Small;
pub use tree::Tree;
pub use wait::{DEADLINE, eventually, until_cut};
