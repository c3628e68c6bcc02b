//! Work of a known length in a guest, to judge by it what is counted.

use std::path::Path;

use tests::{DEADLINE, Guest, eventually};

/// The kernel counts in microseconds, and tells a process of its own in hundredths
/// of a second, each of its two figures rounded down (times(2)); one more is for
/// sessions that cost more than others. Of each session.
const TICKS: f64 = 0.03;

/// What a guest's sessions cost beside what is done in them.
#[derive(Debug)]
pub struct Session {
    least: f64,
    most: f64,
}

impl Session {
    /// Has some that do nothing. `counted` is the guest's seconds on processors.
    pub fn of(guest: &Guest<'_>, counted: impl Fn() -> f64) -> Self {
        wait_for_quiet(guest);
        let mut session = Self { least: f64::MAX, most: 0.0 };
        for _ in 0..3 {
            let before = counted();
            guest.shell("times").ok();
            let cost = counted() - before;
            (session.least, session.most) = (session.least.min(cost), session.most.max(cost));
        }
        session
    }

    /// Compares what was counted for some sessions with how long they have worked,
    /// to one in a hundred. Once something else has been done that costs so much.
    #[track_caller]
    pub fn judge(&self, counted: f64, truth: f64, sessions: f64, beside: f64) {
        let slack = sessions * TICKS + beside * 0.3;
        let least = truth * 0.99 + sessions * self.least + beside - slack;
        let most = truth * 1.01 + sessions * self.most + beside + slack;
        let what = format!("{counted} s counted, {truth} s worked, {beside} s beside, {self:?}");
        assert!((least..=most).contains(&counted), "{what}");
    }
}

/// Seconds for which a shell has worked, in user mode and in the kernel, as it
/// counts them itself: `times` prints its own first, "0m1.23s 0m0.04s". How they
/// divide into the two is guessed from ticks, by cgroups in another way.
pub fn burn(guest: &Guest<'_>) -> f64 {
    let work = "i=0; while [ $i -lt 1200000 ]; do i=$((i + 1)); done; \
                i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); echo x; done >/dev/null; times";
    let answer = guest.shell(work).ok();
    let seconds = |text: &str| -> f64 {
        let (minutes, seconds) = text.trim_end_matches('s').split_once('m').expect("a time");
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    answer.stdout.split_whitespace().take(2).map(seconds).sum()
}

/// Waits for what a boot makes after it has reached its runlevel: the script
/// that init doesn't wait for, and its service.
pub fn wait_for_quiet(guest: &Guest<'_>) {
    // A session would be counted.
    let there = format!("/proc/{}/root/run/booted", guest.init_pid());
    eventually(DEADLINE, "the last script has run", || Path::new(&there).exists().then_some(()));
    guest.wait_for_process("busybox");
}
