//! The host's time as nobody can set it.

use rustix::time::{ClockId, clock_gettime};

/// The host's clock since its start, suspension included, in milliseconds.
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1000) + u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0)
}
