//! The gate through which a session's program comes into the guest's own
//! cgroup, and gets out of one that is a trap.
//!
//! The guest's root may freeze whatever lies in the guest's tree, and a
//! process that enters a frozen cgroup never comes back from the call. So it
//! is the child that goes there, before it does anything else, and the helper
//! waits outside. The child goes on only when it is told to: one that came
//! too late and was given up has done nothing.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize};
use shared::link::Link;

use super::inside::FromInside;

/// How long the child may take for one system call. What is given up in
/// error on a machine that is very busy is only begun again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a session's program is not in the guest's own cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outside {
    /// The guest has as many processes as it may: the administrator gets in.
    Full,
    /// The guest has frozen it.
    Frozen,
    /// The kernel refuses, with this error number.
    Refused(i32),
}

impl Outside {
    /// The sentence for the user.
    pub fn explain(self, guest: &str) -> String {
        let cause = match self {
            Self::Full => "it has as many processes as it may".to_owned(),
            Self::Frozen => "it has frozen that".to_owned(),
            Self::Refused(errno) => io::Error::from_raw_os_error(errno).to_string(),
        };
        format!(
            "this session runs outside of the own cgroup of guest '{guest}' ({cause}); logins by \
             PAM, and guests of the guest, may not work in it"
        )
    }
}

/// The two sides: the helper's and the child's. Only on its way into the
/// guest's own cgroup can the child be held up; where it doesn't go there, it
/// is waited for as long as it takes.
pub fn new(goes_in: bool) -> io::Result<(Gate, UnixStream)> {
    let (helper, child) = UnixStream::pair()?;
    helper.set_read_timeout(goes_in.then_some(PATIENCE))?;
    Ok((Gate { child: helper }, child))
}

/// The helper's side.
#[derive(Debug)]
pub struct Gate {
    child: UnixStream,
}

impl Gate {
    /// Waits for the child, and lets it go if it is still wanted; else it ends. Says
    /// whether it came: a child that was killed on its way has come, too, as its end
    /// will tell.
    pub fn open(mut self, is_wanted: impl Fn() -> bool) -> bool {
        let came = self.child.read_exact(&mut [0]);
        if came.is_ok() && is_wanted() {
            let _ = self.child.write_all(&[0]);
        }
        // What a read that takes too long says (socket(7), SO_RCVTIMEO).
        !came.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Kills a child that didn't come, and waits for its end; not without bound,
/// since a tracer among the guest's processes may hold it: stopped on its way
/// out (ptrace(2), "PTRACE_EVENT_EXIT"), or as a zombie until the tracer has
/// waited for it.
pub fn give_up(child: &OwnedFd) {
    let _ = pidfd_send_signal(child, Signal::KILL);
    let deadline = Instant::now() + PATIENCE;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    while let Ok(None) | Err(Errno::INTR) = waitid(WaitId::PidFd(child.as_fd()), options) {
        if Instant::now() >= deadline {
            return;
        }
        // A descriptor of a zombie is readable, also before it can be waited
        // for (pidfd_open(2)): there is nothing to poll.
        thread::sleep(Duration::from_millis(10));
    }
}

/// The child's side: goes into `leaf`, or `beside` it where it can't get in,
/// and returns when the helper lets it.
///
/// # Errors
/// When neither takes it, or the helper is gone.
pub fn pass(
    leaf: Option<&OwnedFd>,
    beside: &OwnedFd,
    mut helper: UnixStream,
    host: &Link<FromInside, ()>,
) -> io::Result<()> {
    // Zero is the writing process (cgroups(7)).
    let came_in = leaf.map(|leaf| rustix::io::write(leaf, b"0"));
    if let Some(Err(error)) = came_in {
        let _ = host.send(&FromInside::Outside(Outside::Refused(error.raw_os_error())));
    }
    if !matches!(came_in, Some(Ok(_))) {
        rustix::io::write(beside, b"0")?;
    }
    helper.write_all(&[0])?;
    helper.read_exact(&mut [0])
}
