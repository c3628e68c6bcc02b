//! Everything that reaches the user's terminal goes through here.
//!
//! Never panics: a reader that went away (`vserver list | head -1`) is no
//! failure, and there is nobody left to tell when standard error is closed.

use std::fmt;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Kind, Result};
use crate::report;

/// Were only errors asked for (`--quiet`)?
static QUIET: AtomicBool = AtomicBool::new(false);

/// Was it said that root is needed?
static HAS_TOLD_OF_ROOT: AtomicBool = AtomicBool::new(false);

/// The name that this program goes by, if it isn't `vserver`.
static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// Lets errors and warnings begin with the name of a tool.
pub fn set_program(name: &'static str) {
    let _ = PROGRAM.set(name);
}

fn program() -> &'static str {
    PROGRAM.get().copied().unwrap_or("vserver")
}

/// Switches remarks and warnings off.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Writes a result to standard output, as it is.
///
/// # Errors
/// When it can't be written, except that a reader who left is content.
pub fn print(text: &str) -> Result<()> {
    stream(text.as_bytes()).map(|_| ())
}

/// Writes a piece of something long or endless; `Break` when nobody reads it
/// any more.
///
/// # Errors
/// As [`print()`].
pub fn stream(bytes: &[u8]) -> Result<ControlFlow<()>> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Error::os("cannot write to standard output", error)),
    }
}

/// Says what is going on, on standard error, unless `--quiet`.
pub fn remark(text: impl fmt::Display) {
    if !QUIET.load(Ordering::Relaxed) {
        line(format_args!("{text}"));
    }
}

/// Warns of something that doesn't keep the command from success.
pub fn warn(text: impl fmt::Display) {
    if !QUIET.load(Ordering::Relaxed) {
        line(format_args!("{}: warning: {text}", program()));
    }
}

/// Asks on standard error; only "y" or "yes" is a yes, the end of the input
/// is a no.
///
/// # Errors
/// When the answer can't be read.
pub fn confirm(question: &str) -> Result<bool> {
    let _ = io::stderr().lock().write_all(format!("{question} (y/N) ").as_bytes());
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|error| Error::os("cannot read the answer", error))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Shows a mistake in a file, which says itself where it is.
pub fn mistake(text: &str) {
    line(format_args!("{text}"));
}

/// Prints an error and its remedy: the end of every error's way.
pub fn complain(error: &Error) {
    line(format_args!("{}: {error}", program()));
    if let Some(remedy) = error.remedy() {
        line(format_args!("hint: {remedy}"));
    } else if error.kind() == Kind::Permission
        && !rustix::process::geteuid().is_root()
        // Of many guests it is the same.
        && !HAS_TOLD_OF_ROOT.swap(true, Ordering::Relaxed)
    {
        line(format_args!("hint: this needs root; try sudo"));
    }
}

/// One write, so that lines of several threads and processes don't mix. Names of
/// a guest's files can be in it, and say nothing to the terminal itself.
fn line(text: fmt::Arguments<'_>) {
    let text: Vec<_> = text.to_string().split('\n').map(report::harmless_line).collect();
    let _ = io::stderr().lock().write_all(format!("{}\n", text.join("\n")).as_bytes());
}
