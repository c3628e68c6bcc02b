//! A guest's boot and shutdown as lines on the user's terminal.

use std::io::{self, IsTerminal};

use shared::name::GuestName;

use crate::commands::output;
use crate::control::{Event, Phase};
use crate::report::printable;

/// Shows events as they come; on a terminal every script, else only what an
/// administrator should know.
#[derive(Debug)]
pub struct Progress {
    name: Option<GuestName>,
    terminal: bool,
}

impl Progress {
    /// Shows nothing.
    pub fn silent() -> Self {
        Self { name: None, terminal: false }
    }

    /// Shows a boot.
    pub fn of_boot(name: &GuestName) -> Self {
        Self { name: Some(name.clone()), terminal: io::stderr().is_terminal() }
    }

    /// Shows a shutdown.
    pub fn of_shutdown(name: &GuestName) -> Self {
        Self::of_boot(name)
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        let Some(name) = &self.name else { return };
        match event {
            Event::ScriptEnded { name: script, outcome, millis, .. } => {
                let seconds = f64::from(*millis) / 1000.0;
                let script = printable(script);
                if !outcome.success() {
                    output::remark(format_args!(
                        "{name}: [FAIL] {script} ({outcome}, {seconds:.2} s)"
                    ));
                } else if self.terminal {
                    output::remark(format_args!("{name}: [ ok ] {script} ({seconds:.2} s)"));
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
