//! Asking an init program to shut down until it does. Pure: what is to be
//! done next; the loop around it knows the clock.
//!
//! An order that comes while an init program boots may get lost: runit heeds
//! none in its stage 1, finit none before its first runlevel. None of those
//! known does anything else when it is asked a second time.

use std::time::Duration;

use shared::family::Family;
use shared::message::Power;

use super::signs::Hearing;
use super::ways::{Way, ways};

/// Between two looks whether PID 1 hears.
pub const LOOK: Duration = Duration::from_millis(50);

/// After the first order; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The same for an init that nobody knows: some programs take a second
/// SIGTERM for impatience.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// openrc-init would run `openrc shutdown` beside the boot's own `openrc`, and
/// sometimes they wait for each other: a boot is let come to its end, unless it
/// takes longer than this.
const BOOT_TIME: Duration = Duration::from_secs(20);

/// An init program to which no way leads for this long is deaf.
const DEAF_AFTER: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask in this way, and go on after a pause.
    Ask(Way, Duration),
    /// Look again after a pause.
    Look(Duration),
    /// There is no way of asking.
    Deaf,
}

/// An order that is being given.
#[derive(Clone, Debug)]
pub struct Asking {
    ways: &'static [Way],
    /// Commands that the guest hasn't got.
    missing: Vec<Way>,
    pause: Duration,
    /// How long the boot may still take.
    boot: Duration,
    /// How long there has been no way.
    lost: Duration,
}

impl Asking {
    /// A new order.
    pub fn new(family: Family, power: Power) -> Self {
        let pause = if family == Family::Other { LONG_PAUSE } else { FIRST_PAUSE };
        let boot = if family == Family::Openrc { BOOT_TIME } else { Duration::ZERO };
        let (missing, lost) = (Vec::new(), Duration::ZERO);
        Self { ways: ways(family, power), missing, pause, boot, lost }
    }

    /// What is to be done now; `is_up` says whether the boot is over. To be
    /// called again after the pause only.
    pub fn next(&mut self, hearing: Hearing, is_up: bool) -> Step {
        if !is_up && !self.boot.is_zero() {
            self.boot = self.boot.saturating_sub(LOOK);
            return Step::Look(LOOK);
        }
        let is_there = |way: &Way| match way {
            Way::Signal(signal) => hearing.has(*signal),
            Way::Command(_) => !self.missing.contains(way),
        };
        if let Some(way) = self.ways.iter().copied().find(is_there) {
            let pause = self.pause;
            self.pause = (pause * 2).min(LONGEST_PAUSE);
            self.lost = Duration::ZERO;
            return Step::Ask(way, pause);
        }
        if self.lost >= DEAF_AFTER {
            return Step::Deaf;
        }
        self.lost += LOOK;
        Step::Look(LOOK)
    }

    /// The guest has no such command.
    pub fn is_missing(&mut self, way: Way) {
        self.missing.push(way);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FAMILIES: [Family; 9] = [
        Family::Systemd,
        Family::Sysvinit,
        Family::Busybox,
        Family::Runit,
        Family::Openrc,
        Family::Finit,
        Family::S6,
        Family::Dinit,
        Family::Other,
    ];
    const POWERS: [Power; 3] = [Power::Halt, Power::PowerOff, Power::Reboot];

    fn orders() -> impl Strategy<Value = (Family, Power)> {
        (prop::sample::select(&FAMILIES[..]), prop::sample::select(&POWERS[..]))
    }

    proptest! {
        /// Whenever there is a way, it is gone; commands are only given up
        /// when they are missing; nobody is called deaf too early.
        #[test]
        fn every_way_is_gone_that_is_there(
            (family, power) in orders(),
            looks in prop::collection::vec((any::<u64>(), any::<bool>(), any::<bool>()), 1..300),
        ) {
            let mut asking = Asking::new(family, power);
            let mut lost = Duration::ZERO;
            for (mask, missing, is_up) in looks {
                let hearing = Hearing::from_mask(mask);
                match asking.next(hearing, is_up) {
                    Step::Ask(way, pause) => {
                        prop_assert!(ways(family, power).contains(&way));
                        prop_assert!(pause >= FIRST_PAUSE && pause <= LONGEST_PAUSE);
                        let heard = match way {
                            Way::Signal(signal) => hearing.has(signal),
                            Way::Command(_) => true,
                        };
                        prop_assert!(heard);
                        lost = Duration::ZERO;
                        if missing && matches!(way, Way::Command(_)) {
                            asking.is_missing(way);
                        }
                    }
                    Step::Look(pause) => lost += pause,
                    Step::Deaf => prop_assert!(lost >= DEAF_AFTER),
                }
            }
        }

        #[test]
        fn whoever_hears_everything_is_asked_at_once((family, power) in orders()) {
            let mut asking = Asking::new(family, power);
            prop_assert!(matches!(asking.next(Hearing::from_mask(u64::MAX), true), Step::Ask(..)));
        }
    }

    #[test]
    fn an_unknown_init_is_not_pressed() {
        let all = Hearing::from_mask(u64::MAX);
        let mut asking = Asking::new(Family::Other, Power::PowerOff);
        assert_eq!(asking.next(all, true), Step::Ask(Way::Signal(libc::SIGTERM), LONG_PAUSE));
    }

    #[test]
    fn without_s6_linux_init_there_is_a_signal() {
        let all = Hearing::from_mask(u64::MAX);
        let mut asking = Asking::new(Family::S6, Power::PowerOff);
        let Step::Ask(command, _) = asking.next(all, true) else { panic!("a command") };
        asking.is_missing(command);
        assert!(matches!(asking.next(all, true), Step::Ask(Way::Signal(libc::SIGTERM), _)));
    }

    #[test]
    fn the_boot_of_openrc_is_let_come_to_its_end() {
        let all = Hearing::from_mask(u64::MAX);
        let mut asking = Asking::new(Family::Openrc, Power::PowerOff);
        assert_eq!(asking.next(all, false), Step::Look(LOOK));
        assert!(matches!(asking.clone().next(all, true), Step::Ask(..)));
        let looks = (0..1000).take_while(|_| asking.next(all, false) == Step::Look(LOOK)).count();
        assert_eq!(LOOK * u32::try_from(looks + 1).unwrap(), BOOT_TIME);
    }
}
