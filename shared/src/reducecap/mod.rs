//! `reducecap`: executes a command with fewer capabilities, for good.
//!
//! The kernel wants CAP_SETPCAP for taking something out of the bounding set
//! (prctl(2), PR_CAPBSET_DROP). The program in `src/bin/reducecap.rs` has it
//! as a file capability, so everything here may run with a privilege that the
//! caller doesn't have, on arguments, an environment, descriptors and limits
//! of the caller's choice. It therefore reads no file but `/proc/PID/status`
//! after it has given the privilege up, no variable, no configuration; writes
//! nothing but its own messages; and every set that it changes only shrinks.

pub mod bounding;
pub mod options;
pub mod sets;

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{geteuid, getuid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capabilities_secure_bits,
    clear_ambient_capability_set, set_capabilities, set_no_new_privs,
};

use options::{Order, Request};
use sets::{Mask, Sets, names};

/// What a failure of reducecap itself exits with, as util-vserver's tools.
pub const FAILED: u8 = 255;

/// Something failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code: [`FAILED`], or that of env(1) for a command that can't
    /// be executed.
    pub code: u8,
    /// One sentence.
    pub text: String,
    /// The remedy.
    pub hint: Option<&'static str>,
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self { code: FAILED, text: text.into(), hint: None }
    }

    fn os(what: &str, cause: impl Into<io::Error>) -> Self {
        Self::new(format!("{what}: {}", cause.into()))
    }
}

/// The whole program: arguments behind its name in, exit code out. Comes back
/// only if no command was executed.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let text = match options::parse(arguments) {
        Ok(Order::Help) => HELP,
        Ok(Order::Version) => VERSION,
        Ok(Order::Do(request)) => match run(&request) {
            Ok(()) => return 0,
            Err(failure) => return complain(&failure),
        },
        Err(text) => {
            let hint = Some("'reducecap --help' shows the options");
            return complain(&Failure { hint, ..Failure::new(text) });
        }
    };
    // The privilege is of no use for a text.
    match limit(0).and_then(|()| print(text)) {
        Ok(()) => 0,
        Err(failure) => complain(&failure),
    }
}

/// Does what is asked; comes back only if nothing was to be executed.
///
/// # Errors
/// One sentence about what failed. Nothing has been executed then.
pub fn run(request: &Request) -> Result<(), Failure> {
    let (bounding, last) =
        bounding::read().map_err(|error| Failure::os("cannot read the bounding set", error))?;
    let keep = sets::kept(bounding, request.secure, request.changes);
    reduce(bounding, keep)?;
    if request.show {
        show(request.pid, last)?;
    }
    match request.command.split_first() {
        None => Ok(()),
        Some((program, arguments)) => {
            let cause = Command::new(program).args(arguments).exec();
            let code = if cause.kind() == ErrorKind::NotFound { 127 } else { 126 };
            let what = format!("cannot execute '{}'", program.display());
            Err(Failure { code, ..Failure::os(&what, cause) })
        }
    }
}

/// Takes everything that is not in `keep` out of all sets.
fn reduce(bounding: Mask, keep: Mask) -> Result<(), Failure> {
    let taken = bounding & !keep;
    let for_root = taken & sets::for_giving_up();
    if for_root != 0 && !is_root()? {
        return Err(Failure::new(format!("only root can take away {}", names(for_root)))
            .with_hint("setuid programs need it for giving up what they have"));
    }
    bounding::reduce(keep).map_err(no_permission)?;
    limit(keep)?;
    if taken & sets::secure() != 0 && !is_root()? {
        // Some setuid programs let pass what they can't do: no record for the audit, no
        // look at a lock (pam_faillock(8)). So they are no setuid programs any more.
        let fail = |error: Errno| Failure::os("cannot give up gaining privileges", error);
        set_no_new_privs(true).map_err(fail)?;
    }
    Ok(())
}

fn no_permission(error: Errno) -> Failure {
    let failure = Failure::os("cannot reduce the bounding set", error);
    match error {
        Errno::PERM => failure.with_hint(
            "it takes root, or the program 'reducecap' that 'vserver install' installs, outside \
             of no_new_privs and of file systems that are mounted nosuid",
        ),
        _ => failure,
    }
}

/// Reduces the caller's other sets. The ambient set and, for files with
/// inheritable capabilities, the inheritable set pass by the bounding set
/// (capabilities(7), "Transformation of capabilities during execve()").
///
/// What an ordinary user has permitted is what the file gave: nothing of it
/// stays. Root keeps what is to be kept, to find and execute the command.
fn limit(keep: Mask) -> Result<(), Failure> {
    let fail = |error: Errno| Failure::os("cannot reduce capabilities", error);
    clear_ambient_capability_set().map_err(fail)?;
    let now = capabilities(None).map_err(fail)?;
    let keep = CapabilitySet::from_bits_retain(keep);
    let own = if is_root()? { keep } else { CapabilitySet::empty() };
    let less = CapabilitySets {
        effective: now.effective.intersection(own),
        permitted: now.permitted.intersection(own),
        inheritable: now.inheritable.intersection(keep),
    };
    set_capabilities(None, less).map_err(fail)?;
    match capabilities(None).map_err(fail)? {
        now if now == less => Ok(()),
        _ => Err(Failure::new("the kernel has not reduced the capabilities")),
    }
}

/// Does executing a program give this process capabilities by its ids alone?
fn is_root() -> Result<bool, Failure> {
    let bits = capabilities_secure_bits()
        .map_err(|error| Failure::os("cannot read the securebits", error))?;
    let by_id = !bits.contains(CapabilitiesSecureBits::NO_ROOT);
    Ok(by_id && (getuid().is_root() || geteuid().is_root()))
}

fn show(pid: Option<u32>, last: u32) -> Result<(), Failure> {
    let path =
        pid.map_or_else(|| "/proc/self/status".to_owned(), |pid| format!("/proc/{pid}/status"));
    let status = match fs::read_to_string(&path) {
        Ok(status) => status,
        Err(error) if error.kind() == ErrorKind::NotFound && pid.is_some() => {
            return Err(Failure::new(format!("there is no process {}", pid.unwrap_or_default())));
        }
        Err(error) => return Err(Failure::os(&format!("cannot read '{path}'"), error)),
    };
    let sets = Sets::read(&status)
        .ok_or_else(|| Failure::new(format!("'{path}' holds no capabilities")))?;
    print(&sets.table(last))
}

/// A reader who has left is content.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::os("cannot write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// Prints a failure, in one write. Nobody is left to tell when it can't be.
fn complain(failure: &Failure) -> u8 {
    let hint = failure.hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    let text = format!("reducecap: {}\n{hint}", failure.text);
    let _ = io::stderr().lock().write_all(text.as_bytes());
    failure.code
}

impl Failure {
    fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// In the three parts of util-vserver's tools; old scripts read the first
/// number.
const VERSION: &str = concat!(
    "reducecap ",
    env!("CARGO_PKG_VERSION"),
    " -- execute a command with fewer capabilities\n",
    "This program is part of vserver ",
    env!("CARGO_PKG_VERSION"),
    "\n\nThis program is free software under the terms of the MIT licence or the\n",
    "Apache licence 2.0, at your option. There is no warranty.\n",
);

const HELP: &str = "\
Executes a command with fewer capabilities, for good.

Usage: reducecap [--secure] [--cap [!]NAME]... [--show [--pid P]] [--] [CMD [ARG]...]

Options:
      --secure      keep only what util-vserver's 'secure' keeps
      --cap [!]NAME keep one that '--secure' takes; with '!' take one
      --show        print the capability sets
      --pid P       with --show: those of another process
  -h, --help        this text
  -V, --version     the version

Neither setuid programs nor 'su' bring back what is taken; where an ordinary
user takes more than '--secure' does, they gain nothing at all (no_new_privs).
More, with examples, is in reducecap(8).
";
