//! How long a boot is waited for by whoever has more to do than that: the host's own
//! boot, and commands for several guests. What a guest runs while it boots is its
//! own, and may last for ever. Pure.

use std::time::{Duration, Instant};

/// So long nothing may happen in a boot.
pub const STEP: Duration = Duration::from_secs(5 * 60);

/// So long it may take in all, however many steps it has.
pub const BOOT: Duration = Duration::from_secs(30 * 60);

/// How long a boot is to be waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// Until it is over.
    #[default]
    None,
    /// [`STEP`] and [`BOOT`].
    Usual,
    /// So long, whatever happens.
    Total(Duration),
}

/// What is left of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootPatience {
    /// When all of it is over; `None` if the clock doesn't go so far.
    end: Option<Instant>,
    step: Option<Duration>,
    /// When something has happened last.
    heard: Instant,
}

impl Limit {
    /// The wait for a boot, which begins now.
    pub fn from(self, now: Instant) -> Option<BootPatience> {
        match self {
            Self::None => None,
            Self::Usual => Some(BootPatience::usual(now, now)),
            Self::Total(time) => {
                Some(BootPatience { end: now.checked_add(time), step: None, heard: now })
            }
        }
    }
}

impl BootPatience {
    /// The usual one, for a boot that has begun before.
    pub fn usual(began: Instant, now: Instant) -> Self {
        Self { end: began.checked_add(BOOT), step: Some(STEP), heard: now }
    }

    /// Something has happened.
    pub fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When it is over, if nothing happens until then.
    pub fn until(&self) -> Option<Instant> {
        let silent = self.step.and_then(|step| self.heard.checked_add(step));
        silent.into_iter().chain(self.end).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_time_and_all_of_them_have_one() {
        let began = Instant::now();
        let after = |time| began + time;
        let mut patience = Limit::Usual.from(began).unwrap();
        let mut now = began;
        while now < after(BOOT) {
            assert_eq!(patience.until(), Some((now + STEP).min(after(BOOT))));
            now += STEP - Duration::from_secs(20);
            patience.hear(now);
        }
        assert_eq!(patience.until(), Some(after(BOOT)), "no step makes it later");
    }

    #[test]
    fn one_that_was_ordered_counts_whatever_happens() {
        let now = Instant::now();
        let time = Duration::from_secs(3);
        let mut patience = Limit::Total(time).from(now).unwrap();
        patience.hear(now + Duration::from_secs(2));
        assert_eq!(patience.until(), Some(now + time));
        assert_eq!(Limit::Total(Duration::MAX).from(now).unwrap().until(), None);
        assert_eq!(Limit::None.from(now), None);
    }

    #[test]
    fn a_boot_that_has_begun_before_has_what_is_left() {
        let began = Instant::now();
        let now = began + BOOT - Duration::from_secs(60);
        assert_eq!(BootPatience::usual(began, now).until(), Some(began + BOOT));
    }
}
