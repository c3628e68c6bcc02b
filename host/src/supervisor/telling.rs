//! What the supervisor says in its log, by kinds of events.

use std::time::Duration;

use shared::message::Power;
use shared::outcome::Outcome;
use shared::stage::Stage;

use crate::control::Phase;
use crate::error::Error;
use crate::journal::Kind;
use crate::log::{self, Details};

use super::Supervisor;
use super::keeper::Keeper;

impl Supervisor {
    /// Number of the boot that runs, or begins with this phase.
    pub(super) fn boot(&self, phase: Phase) -> u32 {
        let begins = phase == Phase::Starting && !self.is_counted;
        self.state.boot.saturating_add(u32::from(begins))
    }

    fn details(&self) -> Details<'_> {
        Details {
            phase: self.machine.phase().name(),
            boot: self.state.boot,
            init_pid: self.keeper.as_ref().map_or(0, Keeper::init_pid),
            keeper_pid: self.keeper.as_ref().map_or(0, Keeper::pid),
            ..Details::default()
        }
    }

    /// Tells of an event.
    pub(super) fn say(&self, kind: Kind, text: &str) {
        log::event(kind, &self.details(), text);
    }

    /// The same with how something ended, after the text.
    pub(super) fn say_of(&self, kind: Kind, outcome: &str, text: &str) {
        let details = Details { outcome: Some(outcome), ..self.details() };
        log::event(kind, &details, &format!("{text} {outcome}"));
    }

    /// Where the guest is now.
    pub(super) fn say_phase(&self, phase: Phase) {
        let details = Details { phase: phase.name(), boot: self.boot(phase), ..self.details() };
        let boot = details.boot;
        let (kind, text) = match phase {
            Phase::Starting => (Kind::Starting, format!("starting the guest, boot {boot}")),
            Phase::Booting => {
                let (init, keeper) = (details.init_pid, details.keeper_pid);
                (Kind::Launched, format!("launched: PID 1 is {init}, its keeper {keeper}"))
            }
            Phase::Running => (Kind::Up, "the guest is up".to_owned()),
            Phase::Session => (Kind::Session, "the guest's context is open".to_owned()),
            Phase::Stopping => (Kind::Stopping, "the guest shuts down".to_owned()),
            Phase::Rebooting => (Kind::Rebooting, "the guest reboots".to_owned()),
            Phase::BackingOff => {
                (Kind::BackingOff, "the guest is started again after a pause".to_owned())
            }
            Phase::Stopped => (Kind::Stopped, "the guest is down".to_owned()),
            // Nothing that a supervisor is in.
            Phase::Paused => return,
        };
        let end = matches!(phase, Phase::Rebooting | Phase::BackingOff | Phase::Stopped);
        let outcome = self.state.last_end.as_deref().filter(|_| end);
        log::event(kind, &Details { outcome, ..details }, &text);
    }

    /// A start has failed; `stage` says where, in a launch.
    pub(super) fn say_failed(&self, error: &Error, stage: Option<Stage>) {
        let details = Details { stage: stage.map(Stage::name), ..self.details() };
        log::event(Kind::StartFailed, &details, &error.to_string());
    }

    /// A script of the guest's has failed. Its name is the guest's to choose.
    pub(super) fn say_script(&self, name: &str, outcome: Outcome, millis: u32) {
        let (name, outcome) = (format!("{name:?}"), outcome.to_string());
        let details = Details { script: Some(&name), outcome: Some(&outcome), ..self.details() };
        let text = format!("a script has failed: {name}, {outcome}, after {millis} ms");
        log::event(Kind::ScriptFailed, &details, &text);
    }

    /// The guest is told to shut down.
    pub(super) fn say_asked(&self, power: Power, deadline: Option<Duration>) {
        let until = deadline.map_or_else(String::new, |time| format!(", within {time:?}"));
        let text = format!("asking the guest to shut down ({}){until}", word(power));
        self.say(Kind::StopAsked, &text);
    }
}

/// An order in words.
pub(super) fn word(power: Power) -> &'static str {
    match power {
        Power::Halt => "halt",
        Power::PowerOff => "power-off",
        Power::Reboot => "reboot",
    }
}
