//! Joins a guest: its cgroup, all its namespaces, its bounding set.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use caps::Capability;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, umask};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setpriority_process};
use rustix::thread::CpuSet;
use shared::name::GuestName;

use crate::cgroup::{self, GuestCgroup, Lobby};
use crate::error::{Error, Result};
use crate::facts;
use crate::launch::{
    kept_confinement, label, leave_execution_domain, limits_of, make_ordinary, make_room,
    processors_of, programs, score_of, unset_login_uid, use_processors,
};
use crate::paths::Paths;
use crate::plan::Label;
use crate::plan::limits::ProcessLimits;
use crate::runtime::RunDir;
use crate::seccomp::Program;
use crate::sys;

use super::gate::Outside;

/// `CLONE_NEWTIME` (setns(2)); nix has no name for it.
const CLONE_NEWTIME: i32 = 0x80;

/// A guest that can be joined.
#[derive(Debug)]
pub struct Target {
    /// The guest.
    pub name: GuestName,
    init: OwnedFd,
    namespaces: CloneFlags,
    lobby: Lobby,
    /// Where the program goes: the leaf in the guest's own cgroup, open for
    /// writing; or why not there.
    pub leaf: Result<OwnedFd, Outside>,
    /// Where it goes then: the host's leaf, open for writing.
    pub beside: OwnedFd,
    /// What PID 1 may at most do, and so any session.
    pub capabilities: Vec<Capability>,
    /// Is the host a guest itself?
    is_nested: bool,
    /// The label of what is executed.
    label: Option<Label>,
    /// The system call filter.
    pub filter: Vec<Program>,
    /// What its program may use: PID 1's limits, but enough to begin.
    pub limits: ProcessLimits,
    /// Its nice level.
    nice: i32,
    /// The processors that it wishes for.
    processors: Option<CpuSet>,
    /// What the OOM killer adds for it.
    score: i32,
}

impl Target {
    /// Looks at a guest's PID 1.
    ///
    /// # Errors
    /// When the process is gone or isn't in the guest's cgroup (its number
    /// then belongs to another one).
    pub fn find(paths: &Paths, name: &GuestName, init_pid: i32) -> Result<Self> {
        let gone = || Error::not_running(name);
        let pid = Pid::from_raw(init_pid).ok_or_else(gone)?;
        let init = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
        let cgroup = GuestCgroup::new(paths, name)?;
        // The descriptor was opened first: if the process is the right one
        // now, the descriptor refers to it.
        let lies_in = fs::read(format!("/proc/{init_pid}/cgroup")).unwrap_or_default();
        let limited = cgroup.limited_named_by(&lies_in).ok_or_else(gone)?;
        let inner = cgroup::inner(&limited);
        let status = fs::read_to_string(format!("/proc/{init_pid}/status")).map_err(|_| gone())?;
        let capabilities = bounding_set(&status).ok_or_else(gone)?;
        let (limits, nice) = limits_of(pid).map_err(|_| gone())?;
        let granted = granted_processors(&limited);
        let processors = processors_of(pid, &granted).map_err(|_| gone())?;
        // A guest that gives its PID 1 up first doesn't give sessions up with it.
        let score = score_of(init_pid).map_err(|_| gone())?.min(0);
        let damaged = |error| {
            Error::os(format_args!("cannot read how guest '{name}' is confined"), error)
                .hint(format!("restart it: vserver restart {name}"))
        };
        let no_place = |error| {
            Error::os(format_args!("cannot make a cgroup for a session in guest '{name}'"), error)
        };
        let file = RunDir::new(paths, name).confinement();
        let confinement = kept_confinement(&file).map_err(damaged)?;
        let filter = programs(&confinement).map_err(damaged)?;
        Ok(Self {
            name: name.clone(),
            init,
            namespaces: namespaces(init_pid),
            lobby: Lobby::new(&cgroup).map_err(no_place)?,
            leaf: leaf(&inner),
            beside: cgroup::open(&cgroup::beside(&limited)).map_err(no_place)?,
            capabilities,
            is_nested: facts::is_in_user_namespace(),
            label: confinement.label,
            filter,
            limits: limits.of_session(),
            nice,
            processors,
            score,
        })
    }

    /// Are there only the ids that guests have, and not all that a kernel knows?
    pub fn has_few_ids(&self) -> bool {
        self.is_nested || self.namespaces.contains(CloneFlags::CLONE_NEWUSER)
    }

    /// Moves the calling process there, into the session's own cgroup of the
    /// host; its children are in the PID namespace as well. What it has still to open is
    /// under no limit of the guest's: see [`Self::limits`].
    ///
    /// # Errors
    /// Those of writing `cgroup.procs`, of asking for a label, of setns(2).
    pub fn join(&self) -> io::Result<()> {
        sys::reset_signals();
        umask(Mode::from_bits_truncate(0o022));
        self.lobby.enter()?;
        unset_login_uid(self.is_nested)?;
        make_room(&self.limits)?;
        make_ordinary(rustix::process::getpid().as_raw_nonzero().get(), self.score)?;
        setpriority_process(None, self.nice)?;
        use_processors(self.processors.as_ref())?;
        leave_execution_domain()?;
        // While /proc is the host's.
        label(self.label.as_ref())?;
        setns(self.init.as_fd(), self.namespaces)?;
        Ok(())
    }
}

/// What the kernel lets a guest's cgroup use, where it has that controller, and
/// the host else; in the list format of cpuset(7).
fn granted_processors(limited: &Path) -> String {
    let files = [limited.join("cpuset.cpus.effective"), "/sys/devices/system/cpu/online".into()];
    files.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default()
}

/// The leaf in the guest's own cgroup, if there is room.
fn leaf(inner: &Path) -> Result<OwnedFd, Outside> {
    if cgroup::is_full(inner) {
        return Err(Outside::Full);
    }
    let refused = |error: io::Error| Outside::Refused(error.raw_os_error().unwrap_or(libc::EIO));
    cgroup::open_leaf(inner).map_err(refused)
}

/// All kinds of namespaces; those of users and networks only where the guest
/// has one of its own: joining the own user namespace is refused (setns(2)),
/// and nobody has to join the host's network.
fn namespaces(init_pid: i32) -> CloneFlags {
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::from_bits_retain(CLONE_NEWTIME);
    let number = |path: String| fs::metadata(path).map(|meta| meta.ino()).ok();
    let kinds = [("user", CloneFlags::CLONE_NEWUSER), ("net", CloneFlags::CLONE_NEWNET)];
    let differs = |kind: &str| {
        number(format!("/proc/self/ns/{kind}")) != number(format!("/proc/{init_pid}/ns/{kind}"))
    };
    let differing = kinds.into_iter().filter(|(kind, _)| differs(kind)).map(|(_, flag)| flag);
    differing.fold(all, |all, flag| all | flag)
}

/// Reads the bounding set from the text of `/proc/PID/status`
/// (proc_pid_status(5), "CapBnd").
fn bounding_set(status: &str) -> Option<Vec<Capability>> {
    let bits = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
    let bits = u64::from_str_radix(bits.trim(), 16).ok()?;
    let mut set: Vec<Capability> = caps::all().into_iter().collect();
    set.retain(|capability| bits & capability.bitmask() != 0);
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounding_set_is_read_as_the_kernel_prints_it() {
        let status = "Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000021\n";
        let mut set = bounding_set(status).unwrap();
        set.sort_by_key(Capability::index);
        assert_eq!(set, [Capability::CAP_CHOWN, Capability::CAP_KILL]);
        assert!(bounding_set("Name:\tx\n").is_none());
    }
}
