//! Why a supervisor doesn't answer: it stands still, by itself or with all of
//! its unit.

use procfs::process::{ProcState, Process};
use shared::name::GuestName;

use crate::cgroup::{self, GuestCgroup};
use crate::error::Error;

/// The supervisor of a guest is frozen with its cgroup, which `systemctl freeze`
/// does with a unit; `None` when it isn't. Nobody but who has done that may want
/// it to go on.
pub(super) fn frozen(name: &GuestName, pid: i32) -> Option<Error> {
    let cgroups = Process::new(pid).ok()?.cgroups().ok()?;
    let path = cgroups.into_iter().find(|group| group.hierarchy == 0)?.pathname;
    let path = path.trim_start_matches('/');
    let directory = cgroup::find_mount().ok()?.join(path);
    if !GuestCgroup::stands_still(&directory) {
        return None;
    }
    let text = format!("the supervisor of guest '{name}', process {pid}, is frozen");
    Some(Error::new(text).hint(match cgroup::unit_in(path.as_ref()) {
        Some((guest, _)) => format!("let it go on: systemctl thaw {}", cgroup::unit(&guest)),
        None => format!("let it go on: echo 0 >{}/cgroup.freeze", directory.display()),
    }))
}

/// A signal has stopped it.
pub(super) fn stopped(name: &GuestName, pid: i32) -> Option<Error> {
    let state = Process::new(pid).ok()?.stat().ok()?.state().ok()?;
    matches!(state, ProcState::Stopped | ProcState::Tracing).then(|| {
        Error::new(format!("the supervisor of guest '{name}', process {pid}, has been stopped"))
            .hint(format!("let it go on: kill -CONT {pid}"))
    })
}

/// Is the current process a descendant of this one? Of a supervisor its guest's scripts
/// have such, and as long as these run they are waited for. Its others have nothing to wait
/// for: helpers for machined, and the `vserver exec` by which an own init is asked.
pub(super) fn is_of_script(supervisor: i32) -> bool {
    let parent = |pid: &i32| Some(Process::new(*pid).ok()?.stat().ok()?.ppid).filter(|it| *it > 1);
    let own = i32::try_from(std::process::id()).ok();
    std::iter::successors(own, parent).skip(1).any(|pid| pid == supervisor)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, waitpid};
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn descendants_are_told_by_their_parents() {
        assert!(is_of_script(std::os::unix::process::parent_id().try_into().unwrap()));
        assert!(!is_of_script(std::process::id().try_into().unwrap()));
    }

    #[test]
    fn who_is_stopped_is_told_from_who_runs() {
        let name: GuestName = "web".parse().unwrap();
        let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(sleeper.id()).unwrap();
        let running = stopped(&name, pid).is_none() && frozen(&name, pid).is_none();
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WUNTRACED)).unwrap();
        let error = stopped(&name, pid);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(running);
        assert!(error.unwrap().to_string().contains("has been stopped"));
    }
}
