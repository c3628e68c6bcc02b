//! Signals, and pipes that tell of them to whoever waits with poll(2).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::ptr;

use signal_hook::low_level::pipe;

/// Those of them that aren't ignored, as nohup(1) and a shell's jobs in the background have
/// some: who has started this program so wants it not to hear them.
pub fn heeded(signals: &[i32]) -> Vec<i32> {
    signals.iter().copied().filter(|signal| !is_ignored(*signal)).collect()
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: numbers and no function, for which all zeroes is a value.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action this only fills in the one that there is, which lives
    // until it returns.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), &raw mut now) };
    asked == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// A descriptor that is readable once one of these has come, of which there is at least
/// one. Also one that was ignored: what a supervisor hears is others' to say than who has
/// started it.
///
/// # Errors
/// Those of socketpair(2) and sigaction(2).
pub fn pipe_of(signals: &[i32]) -> io::Result<OwnedFd> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, write.try_clone()?)?;
    }
    Ok(read.into())
}

/// Has one come since this was last asked?
pub fn has_come(pipe: &OwnedFd) -> bool {
    matches!(nix::unistd::read(pipe, &mut [0; 64]), Ok(1..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::{SIGPIPE, SIGUSR2};

    #[test]
    fn what_is_ignored_is_spared() {
        // Rust's run time ignores one.
        assert_eq!(heeded(&[SIGPIPE, SIGUSR2]), [SIGUSR2]);
        let pipe = pipe_of(&[SIGUSR2]).unwrap();
        assert!(!has_come(&pipe));
        signal_hook::low_level::raise(SIGUSR2).unwrap();
        assert!(has_come(&pipe) && !has_come(&pipe));
        assert_eq!(heeded(&[SIGPIPE, SIGUSR2]), [SIGUSR2], "not what is caught");
    }
}
