//! Is a guest at rest, so that its files can be moved, copied or removed?

use std::thread;
use std::time::{Duration, Instant};

use shared::name::GuestName;

use crate::control::{Client, Phase};
use crate::error::{Error, Result};
use crate::paths::Paths;

/// How long a supervisor may take to clean up after its guest.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// How long the end of a stopped guest's last session is waited for.
const LAST_SESSION: Duration = Duration::from_secs(1);

/// # Errors
/// When the guest runs or has open sessions. What has just ended is waited for
/// while its supervisor cleans up.
pub(super) fn check(paths: &Paths, name: &GuestName) -> Result<()> {
    let start = Instant::now();
    while let Some(client) = Client::connect(paths, name)? {
        let phase = client.status().map_or(Phase::Stopped, |status| status.phase);
        let (state, patience) = match phase {
            Phase::Session => ("has open sessions", LAST_SESSION),
            Phase::Stopping | Phase::Stopped => ("is running", CLEAN_UP),
            _ => ("is running", Duration::ZERO),
        };
        if start.elapsed() >= patience {
            return Err(Error::new(format!("guest '{name}' {state}"))
                .hint(format!("'vserver stop {name}' first")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
