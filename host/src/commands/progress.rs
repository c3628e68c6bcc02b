//! A guest's boot and shutdown as lines on the user's terminal.

use std::io::{self, IsTerminal};

use shared::name::GuestName;
use shared::outcome::Outcome;

use crate::commands::output;
use crate::control::{Event, Phase};
use crate::report::printable;

/// Shows events as they come; on a terminal every script, else only what an
/// administrator should know.
#[derive(Debug)]
pub struct Progress {
    name: Option<GuestName>,
    terminal: bool,
    /// A shutdown ends boot scripts that still run: no failure of theirs.
    ends_scripts: bool,
}

impl Progress {
    /// Shows nothing.
    pub fn silent() -> Self {
        Self { name: None, terminal: false, ends_scripts: false }
    }

    /// Shows a boot.
    pub fn of_boot(name: &GuestName) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { name: Some(name.clone()), terminal, ends_scripts: false }
    }

    /// Shows a shutdown.
    pub fn of_shutdown(name: &GuestName) -> Self {
        Self { ends_scripts: true, ..Self::of_boot(name) }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        let Some(name) = &self.name else { return };
        match event {
            Event::ScriptEnded { name: script, outcome, millis, .. } => {
                let seconds = f64::from(*millis) / 1000.0;
                let script = printable(script);
                let word = match outcome {
                    Outcome::Exited(0) => "[ ok ]",
                    Outcome::Killed(_) if self.ends_scripts => "[ended]",
                    _ => "[FAIL]",
                };
                if word == "[FAIL]" {
                    output::remark(format_args!(
                        "{name}: {word} {script} ({outcome}, {seconds:.2} s)"
                    ));
                } else if self.terminal {
                    output::remark(format_args!("{name}: {word} {script} ({seconds:.2} s)"));
                }
            }
            Event::Note(note) => output::remark(format_args!("{name}: {}", printable(note))),
            Event::Phase(Phase::BackingOff) => {
                output::warn(format_args!("guest '{name}' has crashed and will be started again"));
            }
            Event::Phase(phase) if self.terminal => {
                output::remark(format_args!("{name}: {}", phase.name()));
            }
            _ => {}
        }
    }
}
