//! How far a build or a copy is: a bar on a terminal, nothing otherwise.

use std::borrow::Cow;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const ITEMS: &str = "{msg} [{bar:30}] {human_pos}/{human_len} files";
const BYTES: &str = "{msg} [{bar:30}] {bytes}/{total_bytes}";
const UNMEASURED: &str = "{spinner} {msg}: {bytes}";
const LINES: &str = "{spinner} {msg}";

/// Shows the progress of one step at a time on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    shown: bool,
}

impl Progress {
    /// Shown if standard error is a terminal.
    pub fn on_terminal() -> Self {
        Self { bar: ProgressBar::hidden(), shown: std::io::stderr().is_terminal() }
    }

    /// Never shown.
    pub fn silent() -> Self {
        Self { bar: ProgressBar::hidden(), shown: false }
    }

    /// A step over a number of files.
    pub fn files(&mut self, what: &'static str, count: u64) {
        self.begin(what, ITEMS, Some(count));
    }

    /// A step over a number of bytes.
    pub fn bytes(&mut self, what: &'static str, count: u64) {
        self.begin(what, BYTES, Some(count));
    }

    /// A step over bytes of which nobody knows how many come.
    pub fn unmeasured(&mut self, what: &'static str) {
        self.begin(what, UNMEASURED, None);
    }

    /// A step whose length isn't known.
    pub fn lines(&mut self, what: &'static str) {
        self.begin(what, LINES, None);
    }

    fn begin(&mut self, what: &'static str, template: &str, length: Option<u64>) {
        self.end();
        if !self.shown {
            return;
        }
        self.bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_message(what);
    }

    /// This far now.
    pub fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// The last line that a tool said.
    pub fn say(&self, text: impl Into<Cow<'static, str>>) {
        self.bar.set_message(text);
        self.bar.tick();
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
