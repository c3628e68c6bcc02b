//! What guest-init says, and what follows from it.

use std::mem;
use std::time::Instant;

use shared::link::RecvError;
use shared::message::{FromGuest, GuestState, Style};

use crate::control::Event as Told;
use crate::journal::Kind;

use super::hearing::beginning;
use super::keeper::Keeper;
use super::state::Event;
use super::{Supervisor, telling};

impl Supervisor {
    /// Reads what guest-init says, as much as is listened to.
    pub(super) fn hear_guest(&mut self) {
        while self.hearing.take(Instant::now()) {
            let Some(link) = self.keeper.as_ref().and_then(Keeper::link) else {
                // What is left is for the guest's own init.
                return self.hearing.give_back();
            };
            match link.recv() {
                Ok(message) => self.guest_says(message),
                Err(RecvError::Nonsense) => {
                    tracing::warn!("the guest sent something that is no message");
                }
                Err(RecvError::Empty) => return self.hearing.give_back(),
                Err(RecvError::Descriptors) => {
                    // They stay with the keeper, at whose end nothing waits.
                    tracing::warn!("the guest sends descriptors; it isn't listened to any more");
                    if let Some(keeper) = &mut self.keeper {
                        keeper.forget_link();
                    }
                    return;
                }
                Err(RecvError::Closed | RecvError::Os(_)) => {
                    // PID 1 is about to end, or another init has taken over.
                    if let Some(keeper) = &mut self.keeper {
                        keeper.forget_link();
                    }
                    return match self.guest.style {
                        Some(_) => self.left_to_own_init(),
                        // What is noted nowhere any more has been said long ago.
                        None => self.go_on_unheard(),
                    };
                }
            }
        }
    }

    /// For whoever takes over. What can't be written is tried again.
    pub(super) fn note_state(&mut self) {
        let written = self.state.write(&self.run.state());
        if mem::replace(&mut self.is_unnoted, written.is_err()) == written.is_err() {
            return;
        }
        match written {
            Ok(()) => tracing::info!("the state file is written again"),
            Err(error) => tracing::warn!("cannot write the state file for now: {error}"),
        }
    }

    /// Takes in one message of guest-init.
    pub(super) fn guest_says(&mut self, message: FromGuest) {
        match message {
            // What is said once in a boot counts once: it is written down, and
            // whoever says something else now isn't guest-init.
            FromGuest::Hello { style, .. } if self.guest.style.is_some_and(|it| it != style) => {}
            FromGuest::Hello { style, reason, .. } => {
                self.guest.style = Some(style);
                self.guest.reason = beginning(reason);
                if self.state.style.replace(style) != Some(style) {
                    self.state.reason.clone_from(&self.guest.reason);
                    self.note_state();
                }
            }
            FromGuest::OwnInit(family) => {
                if self.guest.style == Some(Style::Init) && self.state.family.is_none() {
                    self.state.family = Some(family);
                    self.note_state();
                }
            }
            FromGuest::State(GuestState::Notifies) => {
                if self.guest.style == Some(Style::Init) && !self.state.notifies {
                    self.await_own_init();
                }
            }
            // It has when the link is closed.
            FromGuest::State(GuestState::HandedOver) => {}
            FromGuest::State(state) => {
                if let GuestState::Booting(level) | GuestState::Running(level) = state {
                    self.guest.runlevel = Some(level);
                }
                if let GuestState::Stopping(power) | GuestState::Killing(power) = state
                    && self.state.power.replace(power) != Some(power)
                {
                    self.note_state();
                }
                self.feed(Event::Guest(state));
            }
            FromGuest::ScriptStarted { id, name, argument } => {
                let (name, argument) = (beginning(name), beginning(argument));
                self.notifier.progress(self.machine.phase(), &name);
                self.clients.tell(&Told::ScriptStarted { id, name, argument });
            }
            FromGuest::ScriptEnded { id, name, outcome, millis } => {
                let name = beginning(name);
                if !outcome.success() {
                    self.say_script(&name, outcome, millis);
                }
                self.clients.tell(&Told::ScriptEnded { id, name, outcome, millis });
            }
            FromGuest::Note(note) => {
                let note = beginning(note);
                self.say(Kind::Noted, &format!("the guest notes: {note:?}"));
                self.clients.tell(&Told::Note(note));
            }
            FromGuest::Requested(power) => {
                self.say(
                    Kind::AskedInside,
                    &format!("{} was asked for from inside", telling::word(power)),
                );
            }
            FromGuest::ExecEnded { .. } => {}
        }
    }
}
