//! How much of a guest's talk the supervisor listens to.
//!
//! Whoever is root in a guest can take guest-init's end of the link and send
//! without end. Every message costs a piece of an allowance that grows back
//! slowly; without any left the link is not read, so that the sender waits
//! and the host's processors, logs and commands are spared.

use std::time::{Duration, Instant};

/// So many messages at once: a boot of hundreds of scripts has a start and
/// an end for each.
const MOST: u32 = 2000;

/// The time in which the allowance grows by one message.
const PACE: Duration = Duration::from_millis(500);

/// The allowance.
#[derive(Debug)]
pub struct Hearing {
    left: u32,
    /// When it last grew.
    grown: Instant,
}

impl Hearing {
    /// A full allowance.
    pub fn new(now: Instant) -> Self {
        Self { left: MOST, grown: now }
    }

    /// Takes one message's piece; `false` when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.grow(now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Gives the piece back: there was no message.
    pub fn give_back(&mut self) {
        self.left = (self.left + 1).min(MOST);
    }

    /// Takes so many more, or all that are left: for what costs the host more.
    pub fn spend(&mut self, pieces: u32) {
        self.left = self.left.saturating_sub(pieces);
    }

    /// When there will be a piece again, if there is none now.
    pub fn deaf_until(&self, now: Instant) -> Option<Instant> {
        let next = self.grown + PACE;
        (self.left == 0 && next > now).then_some(next)
    }

    fn grow(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.grown);
        let pieces = passed.as_millis() / PACE.as_millis();
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        if pieces >= MOST - self.left {
            (self.left, self.grown) = (MOST, now);
        } else {
            self.left += pieces;
            self.grown += PACE * pieces;
        }
    }
}

/// The longest text that is kept of a message, in bytes. guest-init sends
/// shorter ones; whoever has its end of the link may not.
const LONGEST: usize = 512;

/// The beginning of a guest's text.
pub fn beginning(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_flood_is_heard_at_the_pace(steps in prop::collection::vec(0u64..900, 1..5000)) {
            let start = Instant::now();
            let (mut now, mut heard) = (start, 0);
            let mut hearing = Hearing::new(start);
            for step in steps {
                now += Duration::from_millis(step);
                heard += u128::from(hearing.take(now));
                prop_assert!(heard <= u128::from(MOST) + (now - start).as_millis() / PACE.as_millis());
                if let Some(next) = hearing.deaf_until(now) {
                    prop_assert!(next > now && next <= now + PACE);
                }
            }
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(beginning("short".to_owned()), "short");
        assert_eq!(beginning(format!("x{}", "ä".repeat(400))).len(), LONGEST - 1);
    }

    #[test]
    fn silence_gives_the_allowance_back() {
        let start = Instant::now();
        let mut hearing = Hearing::new(start);
        while hearing.take(start) {}
        assert_eq!(hearing.deaf_until(start), Some(start + PACE));
        let later = start + PACE * MOST;
        assert_eq!((0..2 * MOST).filter(|_| hearing.take(later)).count(), MOST as usize);
    }
}
