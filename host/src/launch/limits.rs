//! Resource limits (getrlimit(2)): documented values at a start, whatever the
//! caller's shell has; PID 1's own for sessions.

use std::io;

use caps::{CapSet, Capability};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// A limit: its place, its title in `/proc/PID/limits`, and soft and hard
/// value at a start; `None` is infinity.
struct Documented {
    resource: Resource,
    title: &'static str,
    soft: Option<u64>,
    hard: Option<u64>,
}

const fn row(
    resource: Resource,
    title: &'static str,
    soft: Option<u64>,
    hard: Option<u64>,
) -> Documented {
    Documented { resource, title, soft, hard }
}

const KIB: u64 = 1024;

/// The values of every guest (README, "Resource limits"). Hard ones are high,
/// so that a login that raises its limits (pam_limits(8)) succeeds; the
/// kernel counts processes, pending signals and message queues of a guest
/// with ids of its own against the soft ones here, whatever is raised inside;
/// but it never refuses a process to uid 0 of the host, which is the guest's
/// root with identity ids.
const ALL: [Documented; 16] = [
    row(Resource::Cpu, "Max cpu time", None, None),
    row(Resource::Fsize, "Max file size", None, None),
    row(Resource::Data, "Max data size", None, None),
    row(Resource::Stack, "Max stack size", Some(8 * KIB * KIB), None),
    row(Resource::Core, "Max core file size", Some(0), None),
    row(Resource::Rss, "Max resident set", None, None),
    row(Resource::Nproc, "Max processes", Some(8192), None),
    row(Resource::Nofile, "Max open files", Some(1024), Some(KIB * KIB)),
    row(Resource::Memlock, "Max locked memory", Some(8 * KIB * KIB), None),
    row(Resource::As, "Max address space", None, None),
    row(Resource::Locks, "Max file locks", None, None),
    row(Resource::Sigpending, "Max pending signals", Some(64 * KIB), None),
    row(Resource::Msgqueue, "Max msgqueue size", Some(800 * KIB), None),
    row(Resource::Nice, "Max nice priority", Some(0), Some(0)),
    row(Resource::Rtprio, "Max realtime priority", Some(0), Some(0)),
    row(Resource::Rttime, "Max realtime timeout", None, None),
];

/// A value for each limit.
#[derive(Clone, Debug)]
pub struct Limits([Rlimit; ALL.len()]);

impl Limits {
    /// Those of a guest's PID 1 at its start.
    pub fn documented() -> Self {
        Self(ALL.map(|row| Rlimit { current: row.soft, maximum: row.hard }))
    }

    /// Those that a process has now.
    ///
    /// # Errors
    /// Those of reading `/proc/PID/limits`.
    pub fn of(pid: Pid) -> io::Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero()))?;
        Self::parse(&text).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))
    }

    /// Reads the text of `/proc/PID/limits` (proc_pid_limits(5)).
    fn parse(text: &str) -> Option<Self> {
        let mut limits = Self::documented();
        for (limit, row) in limits.0.iter_mut().zip(&ALL) {
            let line = text.lines().find_map(|line| line.strip_prefix(row.title))?;
            let mut values = line.split_whitespace().map(|word| word.parse::<u64>().ok());
            *limit = Rlimit { current: values.next()?, maximum: values.next()? };
        }
        Some(limits)
    }

    /// Gives the calling process these limits; a hard one that this process
    /// may not raise (without CAP_SYS_RESOURCE) stays.
    ///
    /// # Errors
    /// Those of prlimit(2).
    pub fn set(&self) -> io::Result<()> {
        for (row, wanted) in ALL.iter().zip(self.0) {
            let had = getrlimit(row.resource).maximum;
            match prlimit(None, row.resource, wanted) {
                Ok(_) => {}
                Err(Errno::PERM) => {
                    prlimit(None, row.resource, within(wanted, had))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What a host can't give of these limits: a title, the hard limit that
    /// was wanted and the one that is had; `None` is infinity.
    pub fn shortfalls(&self) -> impl Iterator<Item = (&'static str, Option<u64>, u64)> {
        let is_able = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE);
        let is_able = is_able.unwrap_or(false);
        ALL.iter().zip(self.0).filter(move |_| !is_able).filter_map(|(row, wanted)| {
            let had = getrlimit(row.resource).maximum?;
            let short = wanted.maximum.is_none_or(|wanted| wanted > had);
            short.then_some((row.title, wanted.maximum, had))
        })
    }
}

/// As much of a limit as a hard one allows; `None` is infinity.
fn within(wanted: Rlimit, hard: Option<u64>) -> Rlimit {
    let at_most = |value: Option<u64>, limit: Option<u64>| match (value, limit) {
        (Some(value), Some(limit)) => Some(value.min(limit)),
        (value, None) => value,
        (None, limit) => limit,
    };
    let maximum = at_most(wanted.maximum, hard);
    Rlimit { current: at_most(wanted.current, maximum), maximum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_prints_them() {
        let own = Limits::of(rustix::process::getpid()).unwrap();
        for (row, limit) in ALL.iter().zip(own.0) {
            assert_eq!(limit, getrlimit(row.resource), "{}", row.title);
        }
        assert!(Limits::parse("Max cpu time  unlimited  unlimited  seconds\n").is_none());
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_used_to_the_full() {
        let wanted = Rlimit { current: Some(1024), maximum: None };
        assert_eq!(within(wanted, Some(99)), Rlimit { current: Some(99), maximum: Some(99) });
        assert_eq!(within(wanted, Some(5000)).current, Some(1024));
        assert_eq!(within(wanted, None), wanted);
    }
}
