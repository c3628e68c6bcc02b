//! A question to systemd that isn't waited for longer than its answer is worth.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Runs a command that prints less than a pipe holds, and gives what it has printed;
/// `None` if it hasn't ended well by then. What hasn't ended is killed.
///
/// # Errors
/// Those of fork(2), execve(2) and pidfd_open(2).
pub(super) fn within(command: &mut Command, patience: Duration) -> io::Result<Option<String>> {
    let deadline = Instant::now() + patience;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let has_ended = ends_by(&child, deadline);
    if !matches!(has_ended, Ok(true)) {
        let _ = child.kill();
    }
    let status = child.wait()?;
    if !has_ended? || !status.success() {
        return Ok(None);
    }
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    Ok(Some(said))
}

fn ends_by(child: &Child, deadline: Instant) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.saturating_add(Duration::from_millis(1)));
        let timeout = timeout.unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let began = Instant::now();
        let patience = Duration::from_millis(50);
        assert_eq!(within(Command::new("sleep").arg("1000"), patience).unwrap(), None);
        let took = began.elapsed();
        assert!(took >= patience && took < Duration::from_secs(100), "{took:?}");
    }

    #[test]
    fn an_answer_is_what_was_printed_by_who_ended_well() {
        let patience = Duration::from_secs(60);
        let answer = |text: &str| within(Command::new("sh").args(["-c", text]), patience).unwrap();
        assert_eq!(answer("echo ActiveState=failed").as_deref(), Some("ActiveState=failed\n"));
        assert_eq!(answer("echo active; exit 1"), None);
        assert!(within(&mut Command::new("/no/such/program"), patience).is_err());
    }
}
