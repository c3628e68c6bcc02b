//! What the processes of a new command say to the one that the user called.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::process::WaitStatus;
use serde::{Deserialize, Serialize};
use shared::outcome::Outcome;

/// From inside to the command on the outside.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum FromInside {
    /// The context is there.
    Ready {
        /// Its number.
        number: u32,
        /// Inode of its PID namespace.
        pid_namespace: u64,
    },
    /// Carries a pidfd for the command's process.
    Born,
    /// It isn't executed.
    Failed {
        /// What was tried.
        step: Step,
        /// Error number.
        errno: i32,
    },
}

/// To a context's reaper.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum ToReaper {
    /// Stay until the pipe that comes with this is closed at its other end.
    /// Carries its reading end, and the writing end of one for the answer.
    Hold,
    /// The sender, with this pid inside, is a command; its end is to be
    /// written to the pipe that comes with this.
    Watch(i32),
}

/// What is done until a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Mapping the user's ids.
    Ids,
    /// Separating its mounts.
    Mounts,
    /// Mounting /proc.
    Proc,
    /// Mounting what belongs to its IPC.
    Ipc,
    /// Joining its namespaces.
    Join,
    /// Forking.
    Fork,
    /// Setting its host name.
    Hostname,
    /// Making its status file.
    Status,
    /// Reducing its capabilities.
    Capabilities,
    /// Leaving the terminal.
    Disconnect,
    /// Executing it.
    Execute,
}

/// A step that failed, and why.
pub type Failed = (Step, io::Error);

/// Names the step of an error.
pub fn at(step: Step) -> impl Fn(io::Error) -> Failed {
    move |error| (step, error)
}

/// What became of a command: two bytes on a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The reaper stays, as it was asked to.
    Held,
    /// It has ended.
    Ended(Outcome),
    /// This signal has stopped it.
    Stopped(u8),
}

impl News {
    /// What waitpid(2) told, if it is news.
    pub fn from_wait(status: WaitStatus) -> Option<Self> {
        let exited = status.exit_status().map(|code| Self::Ended(Outcome::Exited(code as u8)));
        let killed = status.terminating_signal().map(|n| Self::Ended(Outcome::Killed(n as u8)));
        exited.or(killed).or(status.stopping_signal().map(|n| Self::Stopped(n as u8)))
    }

    /// Writes it. A reader who has gone doesn't matter.
    pub fn write(self, pipe: &OwnedFd) {
        let bytes = match self {
            Self::Held => [0, 0],
            Self::Ended(Outcome::Exited(code)) => [1, code],
            Self::Ended(Outcome::Killed(signal)) => [2, signal],
            Self::Stopped(signal) => [3, signal],
        };
        if let Ok(pipe) = pipe.try_clone() {
            let _ = std::fs::File::from(pipe).write_all(&bytes);
        }
    }

    /// Reads one; `None` at the end.
    pub fn read(pipe: &OwnedFd) -> Option<Self> {
        let mut bytes = [0; 2];
        loop {
            return match (nix::unistd::read(pipe, &mut bytes), bytes) {
                (Err(nix::errno::Errno::EINTR), _) => continue,
                (Ok(2), [0, _]) => Some(Self::Held),
                (Ok(2), [1, code]) => Some(Self::Ended(Outcome::Exited(code))),
                (Ok(2), [2, signal]) => Some(Self::Ended(Outcome::Killed(signal))),
                (Ok(2), [3, signal]) => Some(Self::Stopped(signal)),
                _ => None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn news_are_read_as_written(number: u8) {
            let (read, write) = rustix::pipe::pipe().unwrap();
            let all = [
                News::Held,
                News::Ended(Outcome::Exited(number)),
                News::Ended(Outcome::Killed(number)),
                News::Stopped(number),
            ];
            all.iter().for_each(|news| news.write(&write));
            drop(write);
            for news in all {
                prop_assert_eq!(News::read(&read), Some(news));
            }
            prop_assert_eq!(News::read(&read), None);
        }
    }
}
