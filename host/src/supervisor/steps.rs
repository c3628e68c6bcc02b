//! What a guest's own init says of its boot, in steps: systemd says several times a
//! second which job it waits for, "A start job is running …", and with several it
//! names them in turn, whether one of them gets any further or not. So only what
//! hasn't been named before in a boot is a step of it. Pure.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many steps are told apart in a boot; what comes after them is none.
const MOST: usize = 256;

/// The steps of a boot so far.
#[derive(Debug, Default)]
pub struct Steps {
    /// Of their names only this is kept: what an init says may be long.
    seen: BTreeSet<u64>,
}

impl Steps {
    /// What a status names, if it is a step that there hasn't been yet.
    pub fn next<'a>(&mut self, status: &'a str) -> Option<&'a str> {
        let name = name(status);
        if name.is_empty() || self.seen.len() >= MOST {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.seen.insert(hasher.finish()).then_some(name)
    }
}

/// A status without what changes while nothing happens: of how many jobs it is one,
/// before it, and how long it has taken already, behind it.
fn name(status: &str) -> &str {
    let text = without_count(status).unwrap_or(status);
    text.rsplit_once(" (").map_or(text, |(name, _)| name).trim()
}

/// Without the `(1 of 2) ` that it begins with.
fn without_count(status: &str) -> Option<&str> {
    let (count, rest) = status.strip_prefix('(')?.split_once(") ")?;
    let (number, all) = count.split_once(" of ")?;
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    (is_number(number) && is_number(all)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As systemd 252 and 257 say it.
    fn waiting(job: &str, number: u32, all: u32, seconds: u32) -> String {
        let count = if all > 1 { format!("({number} of {all}) ") } else { String::new() };
        format!("{count}User job {job}/start running ({seconds}s / no limit)...")
    }

    #[test]
    fn a_job_is_one_step_however_often_it_is_named() {
        let mut steps = Steps::default();
        assert_eq!(
            steps.next(&waiting("gate.service", 1, 1, 5)),
            Some("User job gate.service/start running")
        );
        for seconds in 6..400 {
            assert_eq!(steps.next(&waiting("gate.service", 1, 1, seconds)), None);
        }
        assert_eq!(
            steps.next("(1 of 2) User job gate.service/start running (6min 40s / 1h)..."),
            None
        );
        assert!(steps.next(&waiting("next.service", 2, 2, 1)).is_some());
        assert!(steps.next("Startup finished in 3.1s (kernel) + 1s.").is_some());
        assert_eq!(steps.next(""), None);
    }

    #[test]
    fn only_numbers_are_a_count() {
        let mut steps = Steps::default();
        for other in ["(a) x", "(1 of) x", "( of ) x", "(1 of 2)x", "("] {
            steps.next(other);
            assert_eq!(steps.next(&format!("(3 of 9) {other}")), None, "{other}");
        }
        assert!(steps.next("x").is_some(), "none of those was that");
    }

    proptest! {
        /// Whatever hangs, in whatever turn, there are no more steps than jobs; and no
        /// guest has more than are told apart, whatever it says.
        #[test]
        fn there_are_as_many_steps_as_jobs(
            jobs in 1u32..20,
            turns in prop::collection::vec((0u32..20, 0u32..5000), 1..400),
            others in prop::collection::vec(".{0,40}", 0..400),
        ) {
            let mut steps = Steps::default();
            let named: BTreeSet<u32> = turns.iter().map(|(job, _)| job % jobs).collect();
            let heard = turns.iter().filter(|(job, seconds)| {
                let job = job % jobs;
                steps.next(&waiting(&format!("hangs@{job}.service"), job + 1, jobs, *seconds)).is_some()
            });
            let heard = heard.count();
            prop_assert_eq!(heard, named.len());
            let more = others.iter().filter(|text| steps.next(text).is_some()).count();
            prop_assert!(heard + more <= MOST);
        }
    }
}
