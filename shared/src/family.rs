//! Which init program a guest brings along, where that is PID 1 itself.
//!
//! guest-init finds out before it hands over, the supervisor then knows how
//! to talk to it.

use serde::{Deserialize, Serialize};

/// A family of init programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// systemd.
    Systemd,
    /// sysvinit.
    Sysvinit,
    /// busybox init.
    Busybox,
    /// runit.
    Runit,
    /// openrc-init; OpenRC below another init is none of its own.
    Openrc,
    /// finit.
    Finit,
    /// s6-svscan, mostly set up by s6-linux-init.
    S6,
    /// dinit.
    Dinit,
    /// One that nobody knows.
    Other,
}

/// Where a guest's own init is looked for, as the first of these that is there. The
/// others count where there is no `/etc/inittab` either: what systemd-nspawn(1) boots, for
/// Debian's package `systemd` alone has no `/sbin/init`, and what container images are
/// booted by that have s6-overlay laid over them.
pub const INITS: [&str; 4] =
    ["/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", OVERLAY];

/// s6-overlay's, whatever else the image has.
pub const OVERLAY: &str = "/init";

/// Names of programs, and whose they are.
const PROGRAMS: [(&str, Family); 9] = [
    ("systemd", Family::Systemd),
    ("runit-init", Family::Runit),
    ("runit", Family::Runit),
    ("openrc-init", Family::Openrc),
    ("finit", Family::Finit),
    ("s6-linux-init", Family::S6),
    ("s6-svscan", Family::S6),
    ("dinit", Family::Dinit),
    ("dinit-init", Family::Dinit),
];

impl Family {
    /// Texts that only a program, or a script, of this family holds, for one
    /// whose name says nothing: `/sbin/init` of s6-linux-init is a script.
    pub const MARKS: [(&'static [u8], Self); 8] = [
        (b"BusyBox v", Self::Busybox),
        (b"INIT_VERSION=sysvinit-", Self::Sysvinit),
        (b"s6-linux-init", Self::S6),
        (b"s6-svscan", Self::S6),
        (b"s6-overlay", Self::S6),
        (b"runit.stopit", Self::Runit),
        (b"/etc/runit/stopit", Self::Runit),
        (b"/run/openrc/init.ctl", Self::Openrc),
    ];

    /// By the name of the program that `/sbin/init` leads to.
    pub fn of_program(name: &str) -> Option<Self> {
        if name.starts_with("busybox") {
            return Some(Self::Busybox);
        }
        PROGRAMS.iter().find(|(known, _)| *known == name).map(|(_, family)| *family)
    }

    /// Its name; `None` for one that nobody knows.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Systemd => "systemd",
            Self::Sysvinit => "sysvinit",
            Self::Busybox => "busybox",
            Self::Runit => "runit",
            Self::Openrc => "openrc-init",
            Self::Finit => "finit",
            Self::S6 => "s6",
            Self::Dinit => "dinit",
            Self::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_names() {
        assert_eq!(Family::of_program("runit-init"), Some(Family::Runit));
        assert_eq!(Family::of_program("busybox.static"), Some(Family::Busybox));
        assert_eq!(Family::of_program("not-systemd"), None);
        assert_eq!(Family::of_program("init"), None);
    }
}
