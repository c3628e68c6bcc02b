//! Work of a known length in a guest, to judge by it what is counted.
//!
//! The kernel adds up the same nanoseconds for a process (CLOCK_PROCESS_CPUTIME_ID)
//! and for its cgroup (cpu.stat), so what is counted may differ from what was worked by
//! one in a hundred and no more.

use std::path::Path;

use tests::{DEADLINE, Guest, eventually, executable};

use crate::shared::peer;

/// How much of what was worked may be missing or too much.
const TOLERANCE: f64 = 0.01;

/// How much of what else was done beside, as it took it once, it may take another time.
const VARIES: f64 = 0.3;

/// Seconds for which a session works, at least and at most.
const LENGTHS: (f64, f64) = (2.0, 15.0);

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
        for _ in 0..5 {
            let before = counted();
            let worked = burn(guest, 0.0);
            let cost = counted() - before - worked;
            (session.least, session.most) = (session.least.min(cost), session.most.max(cost));
        }
        session
    }

    /// Works for so long that all can be judged which so many sessions have worked, once
    /// something else has been done that costs so much.
    pub fn burn(&self, guest: &Guest<'_>, sessions: f64, beside: f64) -> f64 {
        let enough = 2.0 * self.unknown(sessions, beside) / TOLERANCE / sessions;
        burn(guest, enough.clamp(LENGTHS.0, LENGTHS.1))
    }

    /// Compares what was counted for some sessions with how long they have worked.
    #[track_caller]
    pub fn judge(&self, counted: f64, truth: f64, sessions: f64, beside: f64) {
        let what = format!("{counted} s counted, {truth} s worked, {beside} s beside, {self:?}");
        let tolerance = TOLERANCE * truth;
        assert!(self.unknown(sessions, beside) <= tolerance, "too little to judge by: {what}");
        let expected = truth + sessions * (self.least + self.most) / 2.0 + beside;
        assert!((counted - expected).abs() <= tolerance, "{what}");
    }

    /// Seconds that may have been worked or not.
    fn unknown(&self, sessions: f64, beside: f64) -> f64 {
        sessions * (self.most - self.least) + beside * VARIES
    }
}

/// Brings what works into a guest.
pub fn equip(guest: &Guest<'_>) {
    executable::copy(peer(), guest.root().join("peer"));
}

/// Seconds for which a process has worked that was to work for so many, in user mode
/// and in the kernel. How they divide into the two the kernel guesses from ticks.
#[track_caller]
pub fn burn(guest: &Guest<'_>, seconds: f64) -> f64 {
    let answer = guest.exec(["/peer", "burn", &seconds.to_string()]).ok();
    let nanoseconds = answer.trimmed().strip_prefix("burn ").and_then(|text| text.parse().ok());
    let nanoseconds: f64 = nanoseconds.unwrap_or_else(|| panic!("no time: {answer}"));
    nanoseconds / 1e9
}

/// Waits for what a boot makes after it has reached its runlevel: the script
/// that init doesn't wait for, and its service.
pub fn wait_for_quiet(guest: &Guest<'_>) {
    // A session would be counted.
    let there = format!("/proc/{}/root/run/booted", guest.init_pid());
    eventually(DEADLINE, "the last script has run", || Path::new(&there).exists().then_some(()));
    guest.wait_for_process("busybox");
}
