//! Gives processes their resource limits (getrlimit(2)) and nice levels:
//! documented values at a start, whatever the caller's shell has; PID 1's own
//! for sessions.

use std::collections::BTreeSet;
use std::io;

use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, getpriority_process, getrlimit, prlimit, setpriority_process,
};

use crate::plan::limits::{DOCUMENTED, Pair, ProcessLimits};

/// The resources of [`DOCUMENTED`], in its order.
const RESOURCES: [Resource; DOCUMENTED.len()] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// Limits and nice level that a process has now.
///
/// # Errors
/// Those of reading `/proc/PID/limits` and of getpriority(2).
pub fn limits_of(pid: Pid) -> io::Result<(ProcessLimits, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero()))?;
    let limits = ProcessLimits::parse(&text);
    let limits = limits.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))?;
    Ok((limits, getpriority_process(Some(pid))?))
}

/// Gives the calling process these limits; a hard one that this process may
/// not raise (without CAP_SYS_RESOURCE) stays.
///
/// # Errors
/// Those of prlimit(2).
pub fn limit(limits: &ProcessLimits) -> io::Result<()> {
    for (resource, (current, maximum)) in RESOURCES.into_iter().zip(limits.0) {
        let wanted = Rlimit { current, maximum };
        let had = getrlimit(resource).maximum;
        match prlimit(None, resource, wanted) {
            Ok(_) => {}
            Err(Errno::PERM) => {
                let (current, maximum) = within((current, maximum), had);
                prlimit(None, resource, Rlimit { current, maximum })?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Has the calling process be able to take these limits later, when it may raise none;
/// until then its own ones hold.
///
/// # Errors
/// Those of prlimit(2).
pub fn make_room(limits: &ProcessLimits) -> io::Result<()> {
    for (resource, (_, wanted)) in RESOURCES.into_iter().zip(limits.0) {
        let had = getrlimit(resource);
        let Some(maximum) = raised(had.maximum, wanted) else { continue };
        match prlimit(None, resource, Rlimit { maximum, ..had }) {
            Ok(_) | Err(Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The hard limit that is wanted, if it is above the one that is had; `None` inside is
/// infinity.
fn raised(had: Option<u64>, wanted: Option<u64>) -> Option<Option<u64>> {
    let had = had?;
    wanted.is_none_or(|wanted| wanted > had).then_some(wanted)
}

/// Gives the guest's first process a nice level, which all others inherit; 0
/// if none is configured, whatever the caller has. It must not wait for the
/// child, which may lower no level.
///
/// # Errors
/// Those of setpriority(2), for one that is configured.
pub(super) fn be_nice(pid: i32, nice: Option<i8>) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
    match setpriority_process(Some(pid), nice.unwrap_or(0).into()) {
        // A guest that has a guest may lower no level either.
        Err(Errno::ACCESS | Errno::PERM) if nice.is_none() => Ok(()),
        other => Ok(other?),
    }
}

/// What a process or thread had before a change.
#[derive(Clone, Copy, Debug)]
pub enum Had {
    /// Its nice level.
    Nice(Pid, i32),
    /// Its limit on open files.
    Files(Pid, Pair),
}

/// Shifts the nice levels of threads from the one that all were given before: one
/// that a program has given itself stays relative to the others. No thread comes
/// before the level that is wanted unless it was before it already, whatever the
/// guest has done and whatever is known of the level before.
///
/// # Errors
/// Those of setpriority(2); then all are as they were.
pub fn shift_nice(threads: &BTreeSet<i32>, from: Option<i32>, to: i32) -> io::Result<Vec<Had>> {
    change(threads, |thread| {
        let had = getpriority_process(Some(thread))?;
        let level = shifted(had, from, to);
        if level == had {
            return Ok(None);
        }
        setpriority_process(Some(thread), level)?;
        Ok(Some(Had::Nice(thread, had)))
    })
}

/// The level of a thread that had this one. Where nobody knows what it was given
/// before, it gets at least what is wanted.
fn shifted(had: i32, from: Option<i32>, to: i32) -> i32 {
    match from {
        Some(from) => (had + to - from).max(had.min(to)).clamp(-20, 19),
        None => had.max(to),
    }
}

/// Gives processes whose hard limit on open files is `from`, or more than
/// `to`, a limit of `to`. One that a program has lowered for itself stays.
///
/// # Errors
/// Those of prlimit(2); then all are as they were.
pub fn limit_files(processes: &BTreeSet<i32>, from: u64, to: u64) -> io::Result<Vec<Had>> {
    change(processes, |process| {
        let text = std::fs::read_to_string(format!("/proc/{}/limits", process.as_raw_nonzero()));
        let had = text.ok().and_then(|text| ProcessLimits::parse(&text)?.files());
        let Some((current, Some(hard))) = had.filter(|(_, hard)| hard.is_some()) else {
            return Ok(None);
        };
        if hard != from && hard <= to {
            return Ok(None);
        }
        let new = Rlimit { current: current.map(|now| now.min(to)), maximum: Some(to) };
        prlimit(Some(process), Resource::Nofile, new)?;
        Ok(Some(Had::Files(process, (current, Some(hard)))))
    })
}

/// Changes one after the other; those that have ended meanwhile count not.
fn change(
    ids: &BTreeSet<i32>,
    one: impl Fn(Pid) -> rustix::io::Result<Option<Had>>,
) -> io::Result<Vec<Had>> {
    let mut changed = Vec::new();
    for id in ids.iter().filter_map(|id| Pid::from_raw(*id)) {
        match one(id) {
            Ok(had) => changed.extend(had),
            Err(Errno::SRCH) => {}
            Err(error) => {
                give_back(changed);
                return Err(error.into());
            }
        }
    }
    Ok(changed)
}

/// Undoes changes.
pub fn give_back(had: Vec<Had>) {
    for had in had.into_iter().rev() {
        let result = match had {
            Had::Nice(thread, nice) => setpriority_process(Some(thread), nice),
            Had::Files(process, (current, maximum)) => {
                prlimit(Some(process), Resource::Nofile, Rlimit { current, maximum }).map(drop)
            }
        };
        // One that has ended needs nothing back.
        if let Err(error) = result
            && error != Errno::SRCH
        {
            tracing::error!("cannot undo a change of limits: {error}");
        }
    }
}

/// As much of a limit as a hard one allows; `None` is infinity.
fn within((current, maximum): Pair, hard: Option<u64>) -> Pair {
    let at_most = |value: Option<u64>, limit: Option<u64>| match (value, limit) {
        (Some(value), Some(limit)) => Some(value.min(limit)),
        (value, None) => value,
        (None, limit) => limit,
    };
    let maximum = at_most(maximum, hard);
    (at_most(current, maximum), maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_prints_them() {
        let (own, _) = limits_of(rustix::process::getpid()).unwrap();
        for ((resource, found), (title, _)) in RESOURCES.into_iter().zip(own.0).zip(DOCUMENTED) {
            let real = getrlimit(resource);
            assert_eq!(found, (real.current, real.maximum), "{title}");
        }
    }

    #[test]
    fn only_what_is_too_low_is_raised() {
        assert_eq!(raised(Some(5), Some(9)), Some(Some(9)));
        assert_eq!(raised(Some(5), None), Some(None));
        for (had, wanted) in [(None, None), (None, Some(9)), (Some(9), Some(9)), (Some(9), Some(0))]
        {
            assert_eq!(raised(had, wanted), None);
        }
    }

    #[test]
    fn a_level_is_shifted_and_never_won() {
        assert_eq!(shifted(3, Some(3), 6), 6);
        assert_eq!(shifted(7, Some(3), 6), 10);
        assert_eq!(shifted(7, Some(3), 0), 4);
        assert_eq!(shifted(15, Some(3), 19), 19);
        // One that may come before the others does so still.
        assert_eq!(shifted(-5, Some(0), 5), 0);
        assert_eq!(shifted(-5, Some(0), -3), -5);
        assert_eq!([shifted(0, None, 5), shifted(9, None, 5)], [5, 9]);
        for from in (-20..20).map(Some).chain([None]) {
            for (had, to) in (-20..20).flat_map(|had| (-20..20).map(move |to| (had, to))) {
                let now = shifted(had, from, to);
                assert!((-20..20).contains(&now), "{had} {from:?} {to}: {now}");
                assert!(now >= to || now >= had, "{had} {from:?} {to}: {now}");
            }
        }
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_used_to_the_full() {
        let wanted = (Some(1024), None);
        assert_eq!(within(wanted, Some(99)), (Some(99), Some(99)));
        assert_eq!(within(wanted, Some(5000)).0, Some(1024));
        assert_eq!(within(wanted, None), wanted);
    }
}
