//! Processes and their pids in the PID namespaces that they are in; signals
//! that can't hit another process than the one that was looked at.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sys;

/// A process of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its pid on the host.
    pub pid: i32,
    /// Its pid in the context.
    pub inner: i32,
}

/// Opens a process for [`signal`]. What is found out about its pid between
/// the two is true of it: if it has ended meanwhile, and the pid been given
/// to another, no signal can be sent.
///
/// # Errors
/// Those of pidfd_open(2).
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).filter(|_| pid > 0);
    let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends a signal to it.
///
/// # Errors
/// Those of pidfd_send_signal(2).
pub fn signal(process: &OwnedFd, signal: i32) -> io::Result<()> {
    sys::signal_by_descriptor(process.as_fd(), signal)
}

/// Finds out the pids that the processes of one context have inside it.
/// Processes of the host's that only stand in its cgroup, such as the parent
/// of a session, are left out.
pub fn inside(pids: &[i32]) -> Vec<Process> {
    let chains: Vec<Vec<i32>> = pids.iter().filter_map(|pid| chain(*pid)).collect();
    let depth = depth(&chains);
    let found = chains
        .iter()
        .filter_map(|chain| Some(Process { pid: *chain.first()?, inner: *chain.get(depth - 1)? }));
    found.collect()
}

/// How deep the PID namespace of a context lies: as that of its PID 1, the
/// highest one among its processes (pid_namespaces(7)). One that has none is
/// in this namespace, at depth 1.
fn depth(chains: &[Vec<i32>]) -> usize {
    let is_init = |chain: &&Vec<i32>| chain.last() == Some(&1);
    chains.iter().filter(is_init).map(Vec::len).min().unwrap_or(1)
}

/// The pids of a process from this PID namespace down to its own (`NSpid` in
/// proc(5)).
fn chain(pid: i32) -> Option<Vec<i32>> {
    read_chain(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn read_chain(status: &str) -> Option<Vec<i32>> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let pids: Option<Vec<i32>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
    pids.filter(|pids| !pids.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_are_read_from_the_hosts_to_its_own() {
        assert_eq!(read_chain("Name:\tx\nNSpid:\t813\t7\t1\n"), Some(vec![813, 7, 1]));
        assert_eq!(read_chain("NSpid:\n"), None);
        assert_eq!(read_chain("Name:\tx\n"), None);
    }

    #[test]
    fn a_contexts_depth_is_that_of_its_pid_1() {
        let session = vec![700];
        let (init, shell, nested) = (vec![800, 1], vec![801, 2], vec![802, 3, 1]);
        assert_eq!(depth(&[session.clone(), nested, shell, init]), 2);
        assert_eq!(depth(&[session]), 1);
        assert_eq!(depth(&[]), 1);
    }
}
