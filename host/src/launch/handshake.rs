//! What the launcher and the child say to each other while the child is built.

use serde::{Deserialize, Serialize};
use shared::stage::Failure;

/// From the launcher to the child.
#[derive(Serialize, Deserialize)]
pub enum ToChild {
    /// Ids are mapped, go on.
    Go,
}

/// From the child to the launcher; its end closes when guest-init runs.
#[derive(Serialize, Deserialize)]
pub enum FromChild {
    /// Carries the console's master.
    Console,
    /// A step has failed; the child is about to exit.
    Failed(Failure),
}
