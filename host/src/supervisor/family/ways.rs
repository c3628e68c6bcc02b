//! How an init program is asked to shut down, by its family: its own signals
//! and commands, as its manual and source have them.

use shared::family::Family;
use shared::message::Power;

/// glibc's, which is meant wherever systemd says SIGRTMIN.
const SIGRTMIN: i32 = 34;

/// A way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// This signal to PID 1.
    Signal(i32),
    /// This command, run inside by the guest's root.
    Command(&'static [&'static str]),
}

use Way::{Command, Signal};

/// The ways for what is wanted; the first one that is there is taken.
///
/// - systemd(1), "Signals".
/// - sysvinit and runit: init(8) and runit-init(8) as a command. The signals
///   of runit mean nothing without the files that the command makes.
/// - busybox: `init/init.c`, "Signals".
/// - openrc-init: `openrc-init.c`; before version 0.26 SIGINT only, and
///   openrc-shutdown(8).
/// - finit: `sig.c`; SIGUSR1 is halt in some versions, another thing in others.
/// - s6: s6-linux-init-shutdown(8); a bare s6-svscan(8) has SIGTERM, and goes
///   on with its `.s6-svscan/finish`, whatever was wanted.
/// - dinit(8), "Signals".
/// - others: SIGTERM, as service managers send it, or SIGPWR, as LXC does; also
///   for a reboot, since the host starts the guest again. Not SIGINT, which any
///   shell catches and none heeds.
pub fn ways(family: Family, power: Power) -> &'static [Way] {
    let reboot = power == Power::Reboot;
    match family {
        Family::Systemd => match power {
            Power::Halt => &[Signal(SIGRTMIN + 3)],
            Power::PowerOff => &[Signal(SIGRTMIN + 4)],
            Power::Reboot => &[Signal(SIGRTMIN + 5)],
        },
        Family::Sysvinit | Family::Runit if reboot => &[Command(&["/sbin/init", "6"])],
        Family::Sysvinit | Family::Runit => &[Command(&["/sbin/init", "0"])],
        Family::Busybox => match power {
            Power::Halt => &[Signal(libc::SIGUSR1)],
            Power::PowerOff => &[Signal(libc::SIGUSR2)],
            Power::Reboot => &[Signal(libc::SIGTERM)],
        },
        Family::Openrc if reboot => &[Signal(libc::SIGINT)],
        Family::Openrc => {
            &[Signal(libc::SIGTERM), Command(&["openrc-shutdown", "--poweroff", "now"])]
        }
        Family::Finit if reboot => &[Signal(libc::SIGTERM)],
        Family::Finit => &[Signal(libc::SIGUSR2)],
        Family::S6 if reboot => {
            &[Command(&["s6-linux-init-shutdown", "-a", "-r", "--", "now"]), Signal(libc::SIGTERM)]
        }
        Family::S6 => {
            &[Command(&["s6-linux-init-shutdown", "-a", "-p", "--", "now"]), Signal(libc::SIGTERM)]
        }
        Family::Dinit if reboot => &[Signal(libc::SIGINT)],
        Family::Dinit => &[Signal(libc::SIGTERM)],
        Family::Other => &[Signal(libc::SIGTERM), Signal(libc::SIGPWR)],
    }
}
