//! Guests whose PID 1 is their own init program: when they are up, and how
//! they are asked to shut down, each by the means of its family.

mod asking;
mod signs;
mod ways;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shared::family::Family;
use shared::message::{GuestState, Power, Style};
use shared::name::GuestName;

use crate::config::{STOP_TIMEOUT, STOP_TIMEOUT_OF_SYSTEMD};
use crate::control::{Event as Told, Phase};
use crate::sys;
use crate::variables;

use asking::{Asking, LOOK, Step};
use signs::{Hearing, Look};
use ways::Way;

use super::Supervisor;
use super::keeper::Keeper;
use super::state::Event;
use super::timers::Timer;

/// An init program that shows nothing for this long counts as up.
const UP_AFTER: Duration = Duration::from_secs(60);

/// Between two questions whether it is up.
const ASKED_AGAIN: Duration = Duration::from_millis(250);

/// What is said of one of the family s6 that has crashed before it was up.
/// s6-linux-init(8), "-N".
const RUN_OF_S6: &str = "if the console says that it cannot mount /run: s6-linux-init does that \
                         unless it has the option -N, and a guest may with 'security.nesting = \
                         true' only; /run is there without it";

/// A command inside has this long.
const COMMAND_TIME: Duration = Duration::from_secs(20);

/// What is going on with the guest's own init.
#[derive(Debug, Default)]
pub(super) struct OwnInit {
    /// When it counts as up at the latest.
    up_by: Option<Instant>,
    /// The command inside that is asked whether it is up.
    question: Option<Inside>,
    /// A shutdown that it will be asked for, once it is known which it is.
    order: Option<Power>,
    /// The shutdown that it is asked for.
    asking: Option<Asking>,
    /// The command inside by which it is asked.
    command: Option<Inside>,
}

/// A command that runs inside.
#[derive(Debug)]
struct Inside {
    way: Way,
    session: Child,
    until: Instant,
}

impl Supervisor {
    /// Nothing more comes from guest-init: the guest's own init has been
    /// executed.
    pub(super) fn left_to_own_init(&mut self) {
        // Its socket may be lost.
        let may_tell = self.keeper.as_ref().is_some_and(|keeper| keeper.notify().is_some());
        if self.guest.style == Some(Style::Init) && !(self.state.notifies && may_tell) {
            self.own_init.up_by = Instant::now().checked_add(UP_AFTER);
            self.look_at_own_init();
        }
        self.set_beside();
    }

    /// Asks the guest's own init to shut down, again and again.
    pub(super) fn ask_own_init(&mut self, power: Power) {
        // What guest-init says of it may be on its way still.
        self.own_init.order = Some(power);
        self.own_init.asking = None;
        self.drop_question();
        self.look_at_own_init();
    }

    /// Asks guest-init to shut down where there is no link to it any more: it
    /// hears the signals that systemd does.
    pub(super) fn ask_by_signal(&mut self, power: Power) {
        for way in ways::ways(Family::Systemd, power) {
            if let Err(error) = self.ask(*way) {
                tracing::warn!("cannot ask the guest to shut down: {error}");
            }
        }
    }

    /// It shuts down.
    pub(super) fn own_init_heeds(&mut self) {
        self.own_init.order = None;
        self.own_init.asking = None;
    }

    /// PID 1 has crashed before the guest was up: what may be the reason.
    pub(super) fn guess_at_crash(&mut self) {
        let may_mount = self.plan.nesting;
        if self.state.family == Some(Family::S6) && !may_mount {
            tracing::warn!("{RUN_OF_S6}");
            self.clients.tell(&Told::Note(RUN_OF_S6.to_owned()));
        }
    }

    /// The boot is over.
    pub(super) fn forget_own_init(&mut self) {
        self.timers.set(Timer::OwnInit, None);
        self.drop_question();
        if let Some(command) = std::mem::take(&mut self.own_init).command {
            command.end();
        }
    }

    /// Does what is due.
    pub(super) fn look_at_own_init(&mut self) {
        let is_asked = self.own_init.order.is_some() || self.own_init.asking.is_some();
        let pause = if is_asked { self.press_own_init() } else { self.look_whether_up() };
        if let Some(pause) = pause {
            self.arm(Timer::OwnInit, pause);
        }
    }

    /// How long a shutdown may take of which nobody has said that.
    pub(super) fn stop_timeout(&self) -> Duration {
        let configured = self.plan.lifecycle.stop_timeout;
        configured.unwrap_or_else(|| usual_stop_timeout(self.guest.style, self.state.family))
    }

    pub(super) fn family(&self) -> Family {
        // An older guest-init doesn't tell.
        let silent = if self.state.notifies { Family::Systemd } else { Family::Other };
        self.state.family.unwrap_or(silent)
    }

    fn look_whether_up(&mut self) -> Option<Duration> {
        let init_pid = self.keeper.as_ref().map(Keeper::init_pid)?;
        let up_by = self.own_init.up_by.filter(|_| self.machine.phase() == Phase::Booting)?;
        let look = signs::look(self.family(), init_pid);
        let is_up = match look {
            Look::Up => true,
            Look::NotYet => false,
            Look::Ask(words) => self.says_yes(words),
        };
        if is_up || up_by <= Instant::now() {
            self.own_init.up_by = None;
            self.drop_question();
            self.feed(Event::Guest(GuestState::HandedOver));
            return None;
        }
        let has_said_no = matches!(look, Look::Ask(_)) && self.own_init.question.is_none();
        Some(if has_said_no { ASKED_AGAIN } else { LOOK })
    }

    fn press_own_init(&mut self) -> Option<Duration> {
        let keeper = self.keeper.as_ref()?;
        let init_pid = keeper.init_pid();
        // Until then PID 1 is guest-init, and what it hears is lost.
        if keeper.link().is_some() || self.command_runs() {
            return Some(LOOK);
        }
        if let Some(power) = self.own_init.order.take() {
            self.own_init.asking = Some(Asking::new(self.family(), power));
        }
        let is_up = signs::look(self.family(), init_pid) == Look::Up;
        match self.own_init.asking.as_mut()?.next(Hearing::of(init_pid), is_up) {
            Step::Look(pause) => Some(pause),
            Step::Ask(way, pause) => {
                if let Err(error) = self.ask(way) {
                    tracing::warn!("cannot ask the guest's init to shut down: {error}");
                }
                Some(pause)
            }
            Step::Deaf => {
                self.own_init.asking = None;
                self.give_up_own_init();
                None
            }
        }
    }

    /// Has a command inside said yes? Begun here and looked at when this is
    /// called again. A guest that hasn't got it has nothing to say.
    fn says_yes(&mut self, words: &'static [&'static str]) -> bool {
        let Some(question) = &mut self.own_init.question else {
            match Inside::begin(&self.plan.name, words) {
                Ok(question) => self.own_init.question = Some(question),
                Err(error) => tracing::warn!("cannot ask whether the guest is up: {error}"),
            }
            return false;
        };
        let end = match question.session.try_wait() {
            Ok(None) if question.until > Instant::now() => return false,
            Ok(end) => end,
            Err(_) => None,
        };
        self.drop_question();
        matches!(end.and_then(|status| status.code()), Some(0 | 126 | 127))
    }

    fn drop_question(&mut self) {
        if let Some(question) = self.own_init.question.take() {
            question.end();
        }
    }

    fn ask(&mut self, way: Way) -> io::Result<()> {
        tracing::debug!("asking the guest's init to shut down: {way:?}");
        match way {
            Way::Signal(signal) => match &self.keeper {
                Some(keeper) => sys::signal_by_descriptor(keeper.init(), signal),
                None => Ok(()),
            },
            Way::Command(words) => {
                self.own_init.command = Some(Inside::begin(&self.plan.name, words)?);
                Ok(())
            }
        }
    }

    /// Does a command still run inside? One that the guest hasn't got is
    /// noted.
    fn command_runs(&mut self) -> bool {
        let Some(command) = &mut self.own_init.command else { return false };
        match command.session.try_wait() {
            Ok(None) if command.until > Instant::now() => return true,
            Ok(Some(status)) if matches!(status.code(), Some(126 | 127)) => {
                let way = command.way;
                if let Some(asking) = &mut self.own_init.asking {
                    asking.is_missing(way);
                }
            }
            _ => {}
        }
        if let Some(command) = self.own_init.command.take() {
            command.end();
        }
        false
    }

    /// PID 1 hears nothing that means a shutdown: the others get SIGTERM, as
    /// at the end of any shutdown, and time to heed it. What remains is killed,
    /// or with `--no-kill` the stop has failed.
    fn give_up_own_init(&mut self) {
        let text = "PID 1 of the guest hears no signal that asks it to shut down; its other \
                    processes are told to end";
        tracing::warn!("{text}");
        self.clients.tell(&Told::Note(text.to_owned()));
        let way = Way::Command(&["/bin/sh", "-c", "kill -s TERM -1"]);
        if let Err(error) = self.ask(way) {
            tracing::warn!("cannot tell the guest's processes to end: {error}");
        }
        self.arm(Timer::Deadline, self.plan.lifecycle.kill_grace);
    }
}

/// As long as the guest's own init may wait by itself; one that hasn't said
/// yet which it is may be any.
fn usual_stop_timeout(style: Option<Style>, family: Option<Family>) -> Duration {
    match (style, family) {
        (Some(Style::Init), None | Some(Family::Systemd)) => STOP_TIMEOUT_OF_SYSTEMD,
        _ => STOP_TIMEOUT,
    }
}

impl Inside {
    fn begin(name: &GuestName, words: &'static [&'static str]) -> io::Result<Self> {
        let until = Instant::now() + COMMAND_TIME;
        Ok(Self { way: Way::Command(words), session: exec(name, words)?, until })
    }

    fn end(mut self) {
        let _ = self.session.kill();
        let _ = self.session.wait();
    }
}

/// `vserver exec`, with all that confines a session.
fn exec(name: &GuestName, words: &[&str]) -> io::Result<Child> {
    let kept = variables::ALL.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    Command::new("/proc/self/exe")
        .arg0("vserver")
        .env_clear()
        .envs(kept)
        .args(["exec", name.as_str(), "--"])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_has_time_for_its_own_times() {
        let init = Some(Style::Init);
        assert_eq!(usual_stop_timeout(init, Some(Family::Systemd)), STOP_TIMEOUT_OF_SYSTEMD);
        assert_eq!(usual_stop_timeout(init, None), STOP_TIMEOUT_OF_SYSTEMD);
        assert_eq!(usual_stop_timeout(init, Some(Family::Runit)), STOP_TIMEOUT);
        assert_eq!(usual_stop_timeout(Some(Style::Sysv), None), STOP_TIMEOUT);
    }
}
