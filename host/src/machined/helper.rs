//! The process that talks to machined for a supervisor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use shared::name::GuestName;

/// How many seconds a helper waits for machined; then it ends by SIGALRM.
pub const PATIENCE: u32 = 30;

/// Where the bus is (D-Bus specification, "Well-known Message Bus Instances").
const BUS: &str = "/run/dbus/system_bus_socket";

/// How a helper has ended; its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// machined knows what it should.
    Settled,
    /// Another service has a machine of this name.
    Taken,
    /// There is no machined.
    Absent,
    /// It doesn't do as it is told, or doesn't answer.
    Failed,
}

impl End {
    /// The helper's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Settled => 0,
            Self::Taken => 3,
            Self::Absent => 4,
            Self::Failed => 1,
        }
    }

    fn of(status: Option<ExitStatus>) -> Self {
        let code = status.and_then(|status| status.code());
        let all = [Self::Settled, Self::Taken, Self::Absent];
        let known = all.into_iter().find(|end| code == Some(i32::from(end.code())));
        known.unwrap_or(Self::Failed)
    }
}

/// Is there a bus on which machined could be?
pub fn is_reachable() -> bool {
    Path::new(BUS).exists()
}

/// A guest that runs.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'p> {
    /// Host pid of its PID 1.
    pub leader: i32,
    /// Its root directory.
    pub root: &'p Path,
    /// Its id as a machine.
    pub uuid: Option<&'p str>,
}

/// A helper that runs. It ends with whoever has started it.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    process: OwnedFd,
}

impl Helper {
    /// Starts one that makes machined know what is wanted of a guest; `None`
    /// when it is down.
    ///
    /// # Errors
    /// Those of fork(2) and pidfd_open(2).
    pub fn start(name: &GuestName, wanted: Option<Wanted<'_>>) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("vserver").env_clear().args(["supervise", "--machined", name.as_str()]);
        if let Some(wanted) = wanted {
            command.arg("--leader").arg(wanted.leader.to_string()).arg("--root").arg(wanted.root);
            command.args(wanted.uuid.into_iter().flat_map(|uuid| ["--uuid", uuid]));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process =
            pid.map_or(Err(rustix::io::Errno::SRCH), |pid| pidfd_open(pid, PidfdFlags::empty()));
        match process {
            Ok(process) => Ok(Self { child, process }),
            Err(error) => {
                end(&mut child);
                Err(error.into())
            }
        }
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<End> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(status) => Some(End::of(status)),
            Err(_) => Some(End::Failed),
        }
    }

    /// Ends it. What it has asked for may happen all the same.
    pub fn abandon(mut self) {
        end(&mut self.child);
    }
}

impl AsFd for Helper {
    /// Readable when it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn ends_are_known_by_their_codes() {
        for end in [End::Settled, End::Taken, End::Absent, End::Failed] {
            let status = ExitStatus::from_raw(i32::from(end.code()) << 8);
            assert_eq!(End::of(Some(status)), end);
        }
        assert_eq!(End::of(Some(ExitStatus::from_raw(libc::SIGALRM))), End::Failed);
        assert_eq!(End::of(None), End::Failed);
    }
}
