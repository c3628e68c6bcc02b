//! What a supervisor tells systemd about its guest (sd_notify(3)).

use std::cell::Cell;
use std::env;
use std::fmt::Write;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use sd_notify::NotifyState;

use crate::control::Phase;

/// A boot in which nothing happens for so long has failed for systemd; the
/// `TimeoutStartSec=` of the unit.
const PROGRESS: Duration = Duration::from_secs(300);

/// What a shutdown may take beyond the guest's own time: for the
/// administrator's scripts, and for the kernel to clean up.
const MARGIN: Duration = Duration::from_secs(90);

/// Longest text that `systemctl status` is given.
const LONGEST: usize = 200;

/// A supervisor's words for systemd; none where it isn't a unit's process.
#[derive(Debug, Default)]
pub struct Notifier {
    is_heard: bool,
    is_ready: bool,
    /// Was systemd so busy that it hasn't heard of that yet? It is said again with
    /// the next words, and these come when the watchdog is due at the latest.
    is_unheard: Cell<bool>,
    watchdog: Option<Duration>,
    /// Has the watchdog been given more time?
    is_busy: Cell<bool>,
}

impl Notifier {
    /// As the environment says.
    pub fn from_environment() -> Self {
        Self {
            is_heard: env::var_os("NOTIFY_SOCKET").is_some(),
            watchdog: sd_notify::watchdog_enabled(),
            ..Self::default()
        }
    }

    /// Is this the process of a unit?
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// How often [`Notifier::alive`] is to be called, if at all: twice in the
    /// time after which systemd takes this process for dead.
    pub fn interval(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / 2)
    }

    /// This process isn't stuck.
    pub fn alive(&self) {
        let usual = self.watchdog.filter(|_| self.is_busy.get()).map(watchdog_of);
        let words: Vec<_> = [NotifyState::Watchdog].into_iter().chain(usual).collect();
        self.is_busy.set(!self.say(&words) && self.is_busy.get());
    }

    /// What comes now takes long: the watchdog waits until [`Notifier::alive`] is
    /// called again, or for 71 minutes, the most that the word's microseconds hold.
    pub fn busy(&self) {
        if self.watchdog.is_some() {
            self.is_busy.set(true);
            self.say(&[watchdog_of(Duration::MAX)]);
        }
    }

    /// A guest's files are counted, which may take long, and nothing can be said
    /// meanwhile: a start has the most time that the word holds, as the watchdog has.
    pub fn counting(&self) {
        self.say_status("counting the guest's files for limits.disk", with_counting(self.is_ready));
    }

    /// What systemd didn't hear of.
    pub fn again(&self) {
        if self.is_unheard.get() {
            self.say(&[]);
        }
    }

    /// The unit is active.
    pub fn ready(&mut self) {
        if !self.is_ready {
            self.is_ready = true;
            self.say(&[NotifyState::Ready]);
        }
    }

    /// The guest is in another phase; `detail` belongs to that.
    pub fn phase(&mut self, phase: Phase, detail: &str) {
        if !self.is_heard {
            return;
        }
        let text = match detail {
            "" => phase.name().to_owned(),
            detail => format!("{phase}, {detail}"),
        };
        let more = with_phase(phase, self.is_ready);
        self.is_ready |= matches!(more, Some(NotifyState::Ready));
        self.say_status(&text, more);
    }

    /// The boot, or the shutdown, goes on with this.
    pub fn progress(&self, phase: Phase, text: &str) {
        self.say_status(&format!("{phase}: {text}"), with_progress(phase, self.is_ready));
    }

    /// The guest isn't started yet, for this reason, and is worth waiting for.
    pub fn waiting(&self, text: &str) {
        self.say_status(text, Some(extended(PROGRESS)));
    }

    /// The guest may take so long to shut down.
    pub fn stopping(&self, within: Duration) {
        self.say(&[extended(within.saturating_add(MARGIN))]);
    }

    /// Why it has failed; `systemctl status` shows it also after the end.
    pub fn failed(&self, text: &str) {
        self.say(&[NotifyState::Status(text)]);
    }

    fn say_status(&self, text: &str, more: Option<NotifyState<'_>>) {
        let words: Vec<_> = [NotifyState::Status(text)].into_iter().chain(more).collect();
        self.say(&words);
    }

    /// Has it been heard?
    fn say(&self, words: &[NotifyState<'_>]) -> bool {
        if !self.is_heard {
            return false;
        }
        let again = self.is_unheard.get().then_some(NotifyState::Ready);
        let words: Vec<_> = words.iter().cloned().chain(again).collect();
        let said = say(&words);
        let has_ready = words.iter().any(|word| matches!(word, NotifyState::Ready));
        self.is_unheard.set(has_ready && said.is_err());
        if let Err(error) = &said {
            tracing::debug!("systemd doesn't listen: {error}");
        }
        said.is_ok()
    }
}

/// What systemd is to know beside a new phase's name, of a unit that it takes for
/// active or not.
fn with_phase(phase: Phase, is_ready: bool) -> Option<NotifyState<'static>> {
    match phase {
        Phase::Running | Phase::Session => Some(NotifyState::Ready),
        Phase::Starting | Phase::Booting if !is_ready => Some(extended(PROGRESS)),
        // Also when it stops: this process ends soon enough, and in a unit
        // that is stopping no guard can name itself.
        _ => None,
    }
}

/// What it is to know beside the step that a phase goes on with: a boot that goes
/// on is waited for, however many steps it has.
fn with_progress(phase: Phase, is_ready: bool) -> Option<NotifyState<'static>> {
    (phase == Phase::Booting && !is_ready).then(|| extended(PROGRESS))
}

/// A reboot isn't timed. systemd makes no time shorter again (`service.c`), so what
/// comes in this start after that has as long.
fn with_counting(is_ready: bool) -> Option<NotifyState<'static>> {
    (!is_ready).then(|| extended(Duration::MAX))
}

/// Other times than the unit's own (`WATCHDOG_USEC=`, sd_notify(3)).
fn watchdog_of(time: Duration) -> NotifyState<'static> {
    NotifyState::WatchdogUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
}

fn extended(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))
}

/// Sends these words, unless systemd is so busy that one would have to wait:
/// the crate's own function does.
///
/// # Errors
/// Those of connect(2) and send(2).
pub(super) fn say(words: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let mut message = String::new();
    for word in words {
        let _ = writeln!(message, "{}", clean(&word.to_string()));
    }
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(&path)?;
    socket.send(message.as_bytes()).map(drop)
}

/// Waits until systemd has taken in what was said before: it closes the
/// descriptor that comes with this word (sd_notify_barrier(3)).
///
/// # Errors
/// Those of pipe(2) and sendmsg(2).
pub(super) fn barrier(patience: Duration) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&path)?;
    let descriptors = [theirs.as_raw_fd()];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(b"BARRIER=1\n")],
        &[ControlMessage::ScmRights(&descriptors)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    drop(theirs);
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    poll(&mut [PollFd::new(ours.as_fd(), PollFlags::empty())], timeout)?;
    Ok(())
}

/// One line, whatever a guest has called its scripts.
fn clean(word: &str) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    word.chars().take(LONGEST).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_adds_no_words_of_its_own() {
        let name = "S01a\nMAINPID=1\u{1b}[2J";
        let word = NotifyState::Status(name).to_string();
        assert_eq!(clean(&word), "STATUS=S01a?MAINPID=1?[2J");
        assert_eq!(clean(&"ü".repeat(1000)).chars().count(), LONGEST);
    }

    const PHASES: [Phase; 9] = [
        Phase::Starting,
        Phase::Booting,
        Phase::Running,
        Phase::Stopping,
        Phase::Rebooting,
        Phase::BackingOff,
        Phase::Stopped,
        Phase::Session,
        Phase::Paused,
    ];

    fn shown(word: Option<NotifyState<'_>>) -> String {
        word.map(|word| word.to_string()).unwrap_or_default()
    }

    #[test]
    fn each_step_of_a_boot_has_its_time() {
        for phase in PHASES {
            let expected = match phase {
                Phase::Booting => "EXTEND_TIMEOUT_USEC=300000000",
                _ => "",
            };
            assert_eq!(shown(with_progress(phase, false)), expected, "{phase}");
        }
    }

    #[test]
    fn a_phase_has_time_until_the_unit_is_active() {
        for phase in PHASES {
            let expected = match phase {
                Phase::Starting | Phase::Booting => "EXTEND_TIMEOUT_USEC=300000000",
                Phase::Running | Phase::Session => "READY=1",
                _ => "",
            };
            assert_eq!(shown(with_phase(phase, false)), expected, "{phase}");
        }
    }

    #[test]
    fn an_active_unit_is_not_timed() {
        for phase in PHASES {
            // That of a reboot isn't: systemd doesn't wait for it.
            assert_eq!(shown(with_progress(phase, true)), "", "{phase}");
            let said = shown(with_phase(phase, true));
            assert!(["", "READY=1"].contains(&said.as_str()), "{phase}: {said}");
        }
    }

    #[test]
    fn whoever_counts_files_has_time_until_the_unit_is_active() {
        assert_eq!(shown(with_counting(false)), "EXTEND_TIMEOUT_USEC=4294967295");
        assert_eq!(shown(with_counting(true)), "");
    }

    #[test]
    fn times_are_in_microseconds() {
        assert_eq!(extended(PROGRESS).to_string(), "EXTEND_TIMEOUT_USEC=300000000");
        assert_eq!(extended(Duration::MAX).to_string(), "EXTEND_TIMEOUT_USEC=4294967295");
    }
}
