//! What a supervisor tells systemd about its guest (sd_notify(3)).

use std::cell::Cell;
use std::env;
use std::fmt::Write;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use sd_notify::NotifyState;

use crate::control::{BootPatience, Phase, STEP};

/// What a boot or a shutdown may take beyond its own time: for the
/// administrator's scripts, and for the kernel to clean up.
const MARGIN: Duration = Duration::from_secs(90);

/// So long systemd waits for the next word in a boot. It is this process that says
/// when a boot is not waited for any longer: systemd would kill it, and from version
/// 254 on (`RestartMode=direct`) wait for the next one.
const PROGRESS: Duration = STEP.saturating_add(MARGIN);

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
    /// How long the first boot is waited for, since it began.
    patience: Option<BootPatience>,
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
        if phase == Phase::Booting && self.patience.is_none() {
            let now = Instant::now();
            self.patience = Some(BootPatience::usual(now, now));
        }
        self.hear();
        self.say_status(&text, more);
    }

    /// The boot, or the shutdown, goes on with this.
    pub fn progress(&mut self, phase: Phase, text: &str) {
        self.hear();
        self.say_status(&format!("{phase}: {text}"), with_progress(phase, self.is_ready));
    }

    /// The phase lasts, and this is what is to be said of it.
    pub fn still(&self, phase: Phase, text: &str) {
        self.say_status(&format!("{phase}: {text}"), None);
    }

    /// A boot goes on that began so long ago, under a supervisor before this one.
    pub fn goes_on(&mut self, since: Duration) {
        if self.is_heard && !self.is_ready {
            let now = Instant::now();
            self.patience = Some(BootPatience::usual(now.checked_sub(since).unwrap_or(now), now));
            self.say(&[extended(PROGRESS)]);
        }
    }

    fn hear(&mut self) {
        if let Some(patience) = &mut self.patience {
            patience.hear(Instant::now());
        }
    }

    /// When the boot is not waited for any longer, if nothing happens until then.
    pub fn patient_until(&self) -> Option<Instant> {
        self.patience.filter(|_| self.is_heard && !self.is_ready)?.until()
    }

    /// Says that the unit is active if its guest's boot takes too long: what waits for
    /// it, such as the host's own boot, goes on. Was it said now?
    pub fn give_up(&mut self, phase: Phase) -> bool {
        if self.patient_until().is_none_or(|until| Instant::now() < until) {
            return false;
        }
        self.is_ready = true;
        self.say_status(&given_up(phase), Some(NotifyState::Ready));
        true
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
        // One that crashes in each of its boots would be waited for for ever.
        Phase::Running | Phase::Session | Phase::BackingOff => Some(NotifyState::Ready),
        Phase::Starting | Phase::Booting if !is_ready => Some(extended(PROGRESS)),
        // Also when it stops: this process ends soon enough, and in a unit
        // that is stopping no guard can name itself.
        _ => None,
    }
}

/// What it is to know beside the step that a phase goes on with: a boot that goes
/// on is waited for, until [`Notifier::give_up`].
fn with_progress(phase: Phase, is_ready: bool) -> Option<NotifyState<'static>> {
    (phase == Phase::Booting && !is_ready).then(|| extended(PROGRESS))
}

/// Of a unit that is active though its guest isn't up.
fn given_up(phase: Phase) -> String {
    format!("still {phase}, and not waited for any longer")
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
    use crate::control::BOOT;

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
                Phase::Booting => "EXTEND_TIMEOUT_USEC=390000000",
                _ => "",
            };
            assert_eq!(shown(with_progress(phase, false)), expected, "{phase}");
        }
    }

    #[test]
    fn a_phase_has_time_until_the_unit_is_active() {
        for phase in PHASES {
            let expected = match phase {
                Phase::Starting | Phase::Booting => "EXTEND_TIMEOUT_USEC=390000000",
                Phase::Running | Phase::Session | Phase::BackingOff => "READY=1",
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

    /// A boot that began so long ago, and nothing of which was heard for so long.
    fn booting(since: Duration, silent: Duration) -> Notifier {
        let now = Instant::now();
        let (began, heard) = (now - since, now - silent);
        let patience = Some(BootPatience::usual(began, heard));
        Notifier { is_heard: true, patience, ..Notifier::default() }
    }

    #[test]
    fn a_boot_that_takes_too_long_is_given_up_once() {
        let moment = Duration::from_secs(1);
        for (since, silent) in [(STEP, STEP), (BOOT, moment), (BOOT + STEP, moment)] {
            let mut notifier = booting(since, silent);
            assert!(notifier.give_up(Phase::Booting), "{since:?}, {silent:?}");
            assert!(!notifier.give_up(Phase::Booting));
            assert_eq!(notifier.patient_until(), None, "nobody is woken for that again");
        }
        let mut notifier = booting(BOOT - STEP, STEP - moment);
        assert!(!notifier.give_up(Phase::Booting));
        notifier.progress(Phase::Booting, "S01more");
        assert!(notifier.patient_until() > Instant::now().checked_add(STEP - moment));
        notifier.phase(Phase::Running, "");
        assert_eq!(notifier.patient_until(), None);
    }

    #[test]
    fn who_is_no_unit_waits_for_nothing() {
        let mut notifier = Notifier { is_heard: false, ..booting(BOOT, BOOT) };
        assert!(!notifier.give_up(Phase::Booting) && notifier.patient_until().is_none());
        notifier.goes_on(BOOT);
        assert_eq!(notifier.patient_until(), None);
    }

    #[test]
    fn the_next_supervisor_waits_for_what_is_left_of_a_boot() {
        let mut notifier = Notifier { is_heard: true, ..Notifier::default() };
        notifier.goes_on(BOOT - STEP);
        assert!(!notifier.give_up(Phase::Booting));
        notifier.goes_on(BOOT);
        assert!(notifier.give_up(Phase::Booting));
        assert_eq!(given_up(Phase::Booting), "still booting, and not waited for any longer");
    }

    #[test]
    fn whoever_counts_files_has_time_until_the_unit_is_active() {
        assert_eq!(shown(with_counting(false)), "EXTEND_TIMEOUT_USEC=4294967295");
        assert_eq!(shown(with_counting(true)), "");
    }

    #[test]
    fn times_are_in_microseconds() {
        assert_eq!(extended(PROGRESS).to_string(), "EXTEND_TIMEOUT_USEC=390000000");
        assert_eq!(extended(Duration::MAX).to_string(), "EXTEND_TIMEOUT_USEC=4294967295");
    }
}
