//! Waiting for something to become true, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything that is going to happen, on a busy machine and on
/// one that is emulated.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// Asks until there is an answer, and returns it.
///
/// # Panics
/// When there is none at the deadline; the message says `what` was awaited.
#[track_caller]
pub fn eventually<T>(deadline: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    // Short at first, so that fast things are measured as fast; then a part of what
    // it has taken, so that asking takes no time from what is waited for.
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(1);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        let waited = start.elapsed();
        assert!(waited < deadline, "still waiting after {:.1} s: {what}", waited.as_secs_f64());
        thread::sleep((waited / 16).clamp(SHORTEST, LONGEST).min(deadline - waited));
    }
}

/// Cuts something short that may have ended just before: does it again until it was
/// met at work, which `cut` says.
///
/// # Panics
/// When it never is.
#[track_caller]
pub fn until_cut(mut cut: impl FnMut() -> bool) {
    assert!((0..10).any(|_| cut()), "it was never met at work");
}
