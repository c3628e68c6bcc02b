//! How a process ended, and what that means when it was a guest's PID 1.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::message::Power;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It called exit with this status.
    Exited(u8),
    /// A signal ended it.
    Killed(u8),
}

impl Outcome {
    /// Reads the status word of `wait(2)`; `None` for stops and continues.
    pub fn from_wait_status(status: i32) -> Option<Self> {
        let signal = status & 0x7f;
        if signal == 0 {
            Some(Self::Exited(((status >> 8) & 0xff) as u8))
        } else if signal != 0x7f {
            Some(Self::Killed(signal as u8))
        } else {
            None
        }
    }

    /// Did it exit with status 0?
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }

    /// The exit status a shell would show: the process's own, or 128+n after
    /// signal n.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128u8.saturating_add(signal),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Killed(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What the end of a guest's PID 1 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestEnd {
    /// Somebody inside called reboot(2) to restart: start the guest again.
    Reboot,
    /// Somebody inside called reboot(2) to halt or power off: stay down.
    Halt,
    /// PID 1 exited or was killed: a crash, unless the host killed it.
    Died(Outcome),
    /// Its parent on the host was killed before, and nobody else was told.
    Unknown,
}

impl GuestEnd {
    /// The end of a guest that has said what it is about to do.
    pub fn asked_for(power: Power) -> Self {
        match power {
            Power::Reboot => Self::Reboot,
            Power::Halt | Power::PowerOff => Self::Halt,
        }
    }

    /// Reads the wait status of a PID namespace's PID 1.
    ///
    /// reboot(2): in a PID namespace other than the initial one, restart
    /// commands kill its init with SIGHUP, halt and power-off with SIGINT.
    /// Neither signal can end a PID 1 in any other way from inside, since
    /// signals with default action are ignored there (pid_namespaces(7)).
    pub fn from_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Killed(1) => Self::Reboot,
            Outcome::Killed(2) => Self::Halt,
            other => Self::Died(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_status_words() {
        assert_eq!(Outcome::from_wait_status(0), Some(Outcome::Exited(0)));
        assert_eq!(Outcome::from_wait_status(3 << 8), Some(Outcome::Exited(3)));
        assert_eq!(Outcome::from_wait_status(9), Some(Outcome::Killed(9)));
        assert_eq!(Outcome::from_wait_status(0x80 | 11), Some(Outcome::Killed(11)));
        assert_eq!(Outcome::from_wait_status(0x137f), None);
        assert_eq!(Outcome::Killed(15).code(), 143);
    }

    #[test]
    fn reboot_and_halt_are_told_apart() {
        assert_eq!(GuestEnd::from_outcome(Outcome::Killed(1)), GuestEnd::Reboot);
        assert_eq!(GuestEnd::from_outcome(Outcome::Killed(2)), GuestEnd::Halt);
        assert_eq!(GuestEnd::from_outcome(Outcome::Killed(9)), GuestEnd::Died(Outcome::Killed(9)));
    }
}
