//! What is known about each case, filled in while the machine runs.

use std::fmt::Write;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tests::transcript::{Outcome, Transcript};

/// The outcomes so far, and the machine's end.
#[derive(Default)]
pub struct Cases {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    program: String,
    transcript: Transcript,
    outcomes: Vec<(String, Outcome)>,
    end: Option<Result<(), String>>,
    console: String,
}

/// Marks lines of the machine itself (`run`).
const MARK: &str = "machine: ";

impl Cases {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line that the machine has written.
    pub fn take(&self, line: &str) {
        let mut state = self.lock();
        if let Some(said) = line.strip_prefix(MARK) {
            if let Some(program) = said.strip_prefix("runs ") {
                state.program = program.to_owned();
                state.transcript = Transcript::default();
            }
            eprintln!("{line}");
        } else {
            let new = state.transcript.take(line);
            let program = state.program.clone();
            let named = |(name, outcome)| (format!("{program}::{name}"), outcome);
            state.outcomes.extend(new.into_iter().map(named));
        }
        self.changed.notify_all();
    }

    /// Notes that the machine is off, why, and what its console showed.
    pub fn finish(&self, end: Result<(), String>, console: String) {
        let mut state = self.lock();
        state.end = Some(end);
        state.console = console;
        self.changed.notify_all();
    }

    /// Waits for the outcome of a case.
    pub fn wait(&self, case: &str) -> Result<(), String> {
        let mut state = self.lock();
        loop {
            if let Some((_, outcome)) = state.outcomes.iter().find(|(name, _)| name == case) {
                return match outcome {
                    Outcome::Passed => Ok(()),
                    Outcome::Failed(why) => Err(why.clone()),
                };
            }
            if let Some(end) = &state.end {
                let mut why = "the machine went off before this test had ended".to_owned();
                if let Err(cause) = end {
                    let _ = write!(why, ": {cause}");
                }
                return Err(why);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the machine's end, and returns how it was.
    pub fn end(&self) -> Result<(), String> {
        let mut state = self.lock();
        loop {
            if let Some(end) = &state.end {
                return end.clone();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The last lines of its console.
    pub fn console(&self) -> String {
        let state = self.lock();
        let lines: Vec<_> = state.console.lines().collect();
        let tail = &lines[lines.len().saturating_sub(40)..];
        format!("--- end of the machine's console\n{}\n---", tail.join("\n"))
    }
}
