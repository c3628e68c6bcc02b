//! What a key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::{Question, Sort, State, named};
use super::{Action, Signal};
use crate::membership::Context;

/// Lines of a page, whatever the screen's size.
const PAGE: isize = 10;

/// Longest filter.
const FILTER: usize = 40;

impl State {
    /// Takes a key.
    pub fn press(&mut self, key: KeyEvent) -> Action {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Action::Quit,
            KeyCode::Char('z') if control => return Action::Suspend,
            KeyCode::Char('l') if control => return Action::Repaint,
            // Alt and Ctrl with a letter are not that letter.
            KeyCode::Char(_) if !(key.modifiers - KeyModifiers::SHIFT).is_empty() => {
                return Action::Nothing;
            }
            _ => {}
        }
        let action = match self.question.clone() {
            Some(question) => self.answer(&question, key.code),
            None if self.typing => self.type_in(key.code),
            None => self.command(key.code),
        };
        self.settle();
        action
    }

    /// Neither Enter nor the key that has asked is an answer, so that a key
    /// that is held down does no harm.
    fn answer(&mut self, question: &Question, key: KeyCode) -> Action {
        let action = match (question, key) {
            (Question::Signal(..), KeyCode::Char('t')) => Action::Send(Signal::Term),
            (Question::Signal(..), KeyCode::Char('K')) => Action::Send(Signal::Kill),
            (Question::Stop(name), KeyCode::Char('y')) => {
                self.stopping.insert(name.clone());
                self.message = format!("stopping guest '{name}'");
                Action::Stop(name.clone())
            }
            (Question::Signal(..), KeyCode::Esc | KeyCode::Char('n' | 'q')) => Action::LetGo,
            (_, KeyCode::Esc | KeyCode::Char('n' | 'q')) => Action::Nothing,
            _ => return Action::Nothing,
        };
        self.question = None;
        action
    }

    fn type_in(&mut self, key: KeyCode) -> Action {
        let filter = match self.opened {
            Some(_) => &mut self.processes.filter,
            None => &mut self.contexts.filter,
        };
        match key {
            KeyCode::Char(letter) if filter.chars().count() < FILTER => filter.push(letter),
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                filter.clear();
                self.typing = false;
            }
            _ => {}
        }
        Action::Nothing
    }

    fn command(&mut self, key: KeyCode) -> Action {
        self.message.clear();
        match key {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Enter => return self.open(),
            KeyCode::Esc => self.back(),
            KeyCode::Up => self.step(-1),
            KeyCode::Down => self.step(1),
            KeyCode::PageUp => self.step(-PAGE),
            KeyCode::PageDown => self.step(PAGE),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Char('c') => self.sort(Sort::Cpu),
            KeyCode::Char('m') => self.sort(Sort::Memory),
            KeyCode::Char('n') => self.sort(Sort::Name),
            KeyCode::Char('p') => self.sort(Sort::Processes),
            KeyCode::Char('t') => self.sort(Sort::Time),
            KeyCode::Char('x') => self.sort(Sort::Context),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('k') => return self.ask_signal(),
            KeyCode::Char('s') => self.ask_stop(),
            _ => {}
        }
        Action::Nothing
    }

    fn open(&mut self) -> Action {
        if self.opened.is_some() {
            return Action::Nothing;
        }
        match self.chosen_context() {
            Some(Context::Main) => self.say("the processes of the host: see top(1)"),
            Some(context) => {
                self.opened = Some(context.clone());
                self.processes.filter.clear();
                return Action::Look;
            }
            None => {}
        }
        Action::Nothing
    }

    /// Out of a filter first, then out of a context.
    fn back(&mut self) {
        match &self.opened {
            Some(_) if !self.processes.filter.is_empty() => self.processes.filter.clear(),
            Some(_) => self.opened = None,
            None => self.contexts.filter.clear(),
        }
    }

    fn step(&mut self, by: isize) {
        if self.opened.is_some() {
            let lines = self.process_keys();
            self.processes.step(&lines, by);
        } else {
            let lines = self.context_keys();
            self.contexts.step(&lines, by);
        }
    }

    fn sort(&mut self, sort: Sort) {
        match self.opened {
            Some(_) => self.processes.sort = sort,
            None => self.contexts.sort = sort,
        }
    }

    fn ask_signal(&mut self) -> Action {
        let Some(context) = self.opened.clone() else {
            self.say("signals are for processes: Enter shows those of a guest");
            return Action::Nothing;
        };
        let Some(process) = self.chosen_process().cloned() else { return Action::Nothing };
        let id = process.id;
        self.question = Some(Question::Signal(context.clone(), process));
        Action::Hold(context, id)
    }

    fn ask_stop(&mut self) {
        match self.opened.as_ref().or(self.chosen_context()).cloned() {
            Some(Context::Guest(name)) if self.stopping.contains(&name) => {
                self.say(format!("guest '{name}' is being stopped already"));
            }
            Some(Context::Guest(name)) => self.question = Some(Question::Stop(name)),
            Some(other) => self.say(format!("{} is no guest that can be stopped", named(&other))),
            None => {}
        }
    }
}
