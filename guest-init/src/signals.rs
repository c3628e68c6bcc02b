//! What signals mean to PID 1, and to a [leader](crate::leader) beside another one.

use nix::sys::signal::Signal;
use nix::sys::signalfd::siginfo;
use shared::message::Power;

use crate::look;
use crate::machine::Sig;

/// `si_code` of a signal sent by kill(2) (sigaction(2)).
const SI_USER: i32 = 0;

/// The meaning of a signal that has come.
pub fn read(info: &siginfo) -> Option<Sig> {
    meaning(info.ssi_signo, is_from_host(info))
}

/// A sender that this namespace doesn't know is the host (pid_namespaces(7)); nobody
/// in here can say so of itself (rt_sigqueueinfo(2)).
pub fn is_from_host(info: &siginfo) -> bool {
    info.ssi_code == SI_USER && info.ssi_pid == 0
}

/// The meaning of signal numbers. SIGRTMIN is glibc's 34, on which the
/// senders of these signals (systemd's tools, LXC) count.
fn meaning(number: u32, is_host: bool) -> Option<Sig> {
    const SIGRTMIN: u32 = 34;
    let from_rtmin = match number.wrapping_sub(SIGRTMIN) {
        3 => Some(Sig::Halt),
        4 => Some(Sig::PowerOff),
        5 => Some(Sig::Reboot),
        13 => Some(Sig::Now(Power::Halt)),
        14 => Some(Sig::Now(Power::PowerOff)),
        15 => Some(Sig::Now(Power::Reboot)),
        _ => None,
    };
    if from_rtmin.is_some() {
        return from_rtmin;
    }
    match Signal::try_from(i32::try_from(number).ok()?).ok()? {
        Signal::SIGHUP => Some(Sig::Hup),
        // The keys that it stands for are the host's own: from there it is
        // 'machinectl reboot'.
        Signal::SIGINT if is_host => Some(Sig::Reboot),
        Signal::SIGINT => Some(Sig::Int),
        Signal::SIGQUIT => Some(Sig::Quit),
        Signal::SIGTERM => Some(Sig::Term),
        Signal::SIGUSR1 => Some(Sig::Usr1),
        Signal::SIGUSR2 => Some(Sig::Usr2),
        Signal::SIGPWR => Some(Sig::Pwr(look::power_status())),
        Signal::SIGWINCH => Some(Sig::Winch),
        _ => None,
    }
}
