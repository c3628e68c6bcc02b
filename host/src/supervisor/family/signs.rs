//! What shows from outside how far an init program is. All of it is the
//! guest's to say: it is a statement about the guest, and no more.

use std::fs;
use std::path::Path;

use shared::family::Family;

use crate::fsroot::RootDir;

/// What shows that a guest is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// A child of PID 1 with this name.
    Child(&'static str),
    /// A file on the tmpfs `/run` that PID 1 has made.
    File(&'static str),
    /// A command of the guest's that ends with 0.
    Answer(&'static [&'static str]),
}

/// What one look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The guest is up.
    Up,
    /// Not yet.
    NotYet,
    /// This command inside knows: it ends with 0 when the guest is up.
    Ask(&'static [&'static str]),
}

impl Sign {
    /// The sign of a family, if it has one.
    ///
    /// - runit: stage 2 ends in runsvdir(8).
    /// - openrc-init: makes its FIFO after the default runlevel.
    /// - finit: sets this condition when all services have been started.
    /// - s6: every service has its s6-supervise(8).
    /// - dinit: the service `boot`, with which it begins, depends on all others;
    ///   dinitctl(8), "is-started".
    fn of(family: Family) -> Option<Self> {
        match family {
            Family::Runit => Some(Self::Child("runsvdir")),
            Family::Openrc => Some(Self::File("run/openrc/init.ctl")),
            Family::Finit => Some(Self::File("run/finit/cond/hook/sys/up")),
            Family::S6 => Some(Self::Child("s6-supervise")),
            Family::Dinit => Some(Self::Answer(&["dinitctl", "--quiet", "is-started", "boot"])),
            _ => None,
        }
    }
}

/// Does the init program of a guest show that the guest is up? One without a
/// sign is taken for up from the beginning.
pub fn look(family: Family, init_pid: i32) -> Look {
    let is_up = match Sign::of(family) {
        Some(Sign::Child(name)) => has_child(init_pid, name),
        Some(Sign::File(path)) => has_file(init_pid, path),
        Some(Sign::Answer(words)) => return Look::Ask(words),
        None => true,
    };
    if is_up { Look::Up } else { Look::NotYet }
}

fn has_child(pid: i32, name: &str) -> bool {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.unwrap_or_default().split_ascii_whitespace().any(|child| {
        fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|comm| comm.trim() == name)
    })
}

fn has_file(pid: i32, path: &str) -> bool {
    let root = RootDir::open(Path::new(&format!("/proc/{pid}/root")));
    root.is_ok_and(|root| root.remembers(Path::new(path)))
}

/// The signals that a process hears: those that it has a handler for, and
/// those that it blocks, to read them elsewhere (signalfd(2)). A PID 1 never
/// gets others (pid_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hearing(u64);

impl Hearing {
    /// These.
    #[cfg(test)]
    pub fn from_mask(mask: u64) -> Self {
        Self(mask)
    }

    /// Of a process that lives.
    pub fn of(pid: i32) -> Self {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default())
    }

    /// Reads `/proc/PID/status` (proc(5)).
    fn read(status: &str) -> Self {
        let masks = status.lines().filter_map(|line| {
            let (name, mask) = line.split_once(':')?;
            let known = matches!(name, "SigBlk" | "SigCgt");
            known.then(|| u64::from_str_radix(mask.trim(), 16).ok())?
        });
        Self(masks.fold(0, |all, mask| all | mask))
    }

    /// Is this one of them?
    pub fn has(self, signal: i32) -> bool {
        u32::try_from(signal - 1)
            .ok()
            .and_then(|bit| self.0.checked_shr(bit))
            .is_some_and(|bits| bits & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handled_and_blocked_signals_are_heard() {
        let status = "Name:\trunit\nSigQ:\t0/1\nSigBlk:\t0000000000000001\n\
                      SigIgn:\tffffffffffffffff\nSigCgt:\t0000002000004000\n";
        let heard = Hearing::read(status);
        let signals: Vec<i32> = (-1..70).filter(|signal| heard.has(*signal)).collect();
        assert_eq!(signals, [libc::SIGHUP, libc::SIGTERM, 38]);
        assert_eq!(Hearing::read("SigCgt:\tx\n"), Hearing::default());
    }

    #[test]
    fn a_process_without_signs_isnt_up() {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        assert_eq!(look(Family::Runit, own), Look::NotYet);
        assert_eq!(look(Family::Other, own), Look::Up);
        assert!(matches!(look(Family::Dinit, own), Look::Ask(_)));
    }
}
