//! The resource limits of a guest's processes (getrlimit(2)), as data.

/// Soft and hard value; `None` is infinity.
pub type Pair = (Option<u64>, Option<u64>);

use crate::config::limits::LEAST_FILES;

const KIB: u64 = 1024;

/// Title in `/proc/PID/limits`, soft and hard value at a start (README,
/// "Resource limits").
///
/// Hard ones are high, so that a login that raises its limits (pam_limits(8))
/// succeeds; the kernel counts processes, pending signals and message queues
/// of a guest with ids of its own against the soft ones here, whatever is
/// raised inside; but it never refuses a process to uid 0 of the host, which
/// is the guest's root with identity ids.
pub const DOCUMENTED: [(&str, Pair); 16] = [
    ("Max cpu time", (None, None)),
    ("Max file size", (None, None)),
    ("Max data size", (None, None)),
    ("Max stack size", (Some(8 * KIB * KIB), None)),
    ("Max core file size", (Some(0), None)),
    ("Max resident set", (None, None)),
    ("Max processes", (Some(8192), None)),
    (FILES, (Some(SOFT_FILES), Some(KIB * KIB))),
    ("Max locked memory", (Some(8 * KIB * KIB), None)),
    ("Max address space", (None, None)),
    ("Max file locks", (None, None)),
    ("Max pending signals", (Some(64 * KIB), None)),
    ("Max msgqueue size", (Some(800 * KIB), None)),
    ("Max nice priority", (Some(0), Some(0))),
    ("Max realtime priority", (Some(0), Some(0))),
    ("Max realtime timeout", (None, None)),
];

const FILES: &str = "Max open files";

/// What select(2) can take; programs that know better raise it.
const SOFT_FILES: u64 = 1024;

/// A value for each of [`DOCUMENTED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessLimits(pub [Pair; DOCUMENTED.len()]);

impl Default for ProcessLimits {
    fn default() -> Self {
        Self::documented(None)
    }
}

impl ProcessLimits {
    /// Those of a guest's PID 1 at its start, with so many open files where a
    /// number is given.
    pub fn documented(files: Option<u64>) -> Self {
        Self(DOCUMENTED.map(|(title, pair)| match files {
            Some(files) if title == FILES => (Some(files.min(SOFT_FILES)), Some(files)),
            _ => pair,
        }))
    }

    /// Soft and hard limit on open files.
    pub fn files(&self) -> Option<Pair> {
        let mut all = DOCUMENTED.iter().zip(self.0);
        all.find(|((title, _), _)| *title == FILES).map(|(_, pair)| pair)
    }

    /// Reads the text of `/proc/PID/limits` (proc_pid_limits(5)).
    pub fn parse(text: &str) -> Option<Self> {
        let mut limits = Self::documented(None);
        for (limit, (title, _)) in limits.0.iter_mut().zip(DOCUMENTED) {
            let line = text.lines().find_map(|line| line.strip_prefix(title))?;
            let mut values = line.split_whitespace().map(|word| word.parse::<u64>().ok());
            *limit = (values.next()?, values.next()?);
        }
        Some(limits)
    }

    /// Those of a session in a guest whose PID 1 has these now. The guest's root may
    /// lower them, until no program can begin; so they are at least what a guest
    /// begins with.
    pub fn of_session(&self) -> Self {
        let files = self.files().and_then(|(_, hard)| hard);
        let mut session = Self::documented(files.map(|files| files.max(LEAST_FILES.into())));
        for (ours, theirs) in session.0.iter_mut().zip(&self.0) {
            *ours = (more(ours.0, theirs.0), more(ours.1, theirs.1));
        }
        session
    }

    /// What can't be given by one that has the limits `had` and can't raise
    /// them: a title, the hard limit that is wanted and the one that is had;
    /// `None` is infinity.
    pub fn shortfalls(&self, had: &Self) -> Vec<(&'static str, Option<u64>, u64)> {
        let all = DOCUMENTED.iter().zip(self.0).zip(had.0);
        let short = all.filter_map(|(((title, _), (_, wanted)), (_, had))| {
            let had = had?;
            wanted.is_none_or(|wanted| wanted > had).then_some((*title, wanted, had))
        });
        short.collect()
    }
}

/// The higher one; `None` is infinity.
fn more(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(one, other)| one.max(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_limited_hard_and_soft() {
        let files = |most| ProcessLimits::documented(most).0[7];
        assert_eq!(files(None), (Some(1024), Some(1_048_576)));
        assert_eq!(files(Some(4096)), (Some(1024), Some(4096)));
        assert_eq!(files(Some(100)), (Some(100), Some(100)));
        assert_eq!(ProcessLimits::documented(Some(100)).files(), Some((Some(100), Some(100))));
    }

    #[test]
    fn what_a_guest_takes_from_its_pid_1_sessions_have() {
        let begun = ProcessLimits::documented(None);
        assert_eq!(begun.of_session(), begun);
        let nothing = ProcessLimits([(Some(0), Some(0)); 16]);
        let session = nothing.of_session();
        assert_eq!(session, ProcessLimits::documented(Some(LEAST_FILES.into())));
        assert_eq!(
            (session.0[0], session.0[6].1, session.0[9]),
            ((None, None), None, (None, None))
        );
        // What it was given more of, and what the configuration says.
        let mut raised = ProcessLimits::documented(Some(100));
        raised.0[4] = (None, None);
        raised.0[13] = (Some(5), Some(9));
        assert_eq!(raised.of_session(), raised);
        raised.0[7].0 = Some(7);
        assert_eq!(raised.of_session().files(), Some((Some(100), Some(100))));
        assert_eq!(ProcessLimits([(None, None); 16]).of_session().files(), Some((None, None)));
    }

    #[test]
    fn what_a_host_lacks_is_found() {
        let wanted = ProcessLimits::documented(None);
        assert_eq!(wanted.shortfalls(&wanted), []);
        let mut had = wanted.clone();
        had.0[7] = (Some(1024), Some(4096));
        assert_eq!(wanted.shortfalls(&had), [("Max open files", Some(1_048_576), 4096)]);
        assert!(ProcessLimits::parse("Max cpu time  unlimited  unlimited  seconds\n").is_none());
    }
}
