//! The VM tier: tests that need a host of another kind than the one they are
//! started on. Virtual machines (`image.sh`) run them, each booted once, and once
//! more where tests want to see it come back (`machine`).
//!
//! Its cases are those of `inside/`, written for such hosts, and some of the
//! guest tests, which show that vserver is the same there. What each of them
//! says inside becomes a case of this program.

mod cases;
mod machine;
mod payload;
mod programs;

use std::iter;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};

use cases::Cases;
use machine::{BOOKWORM, Kind, Machine, SELINUX, TRIXIE};
use programs::Program;

/// As libtest has it for `#[ignore = …]`.
const REASON: &str = "root: boots a virtual machine";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.ignored && !arguments.include_ignored {
        let nothing = Trial::test("virtual_machine", || Ok(()));
        let nothing = nothing.with_kind(REASON).with_ignored_flag(true);
        return libtest_mimic::run(&arguments, vec![nothing]).exit_code();
    }
    let programs = programs::all();
    let mut trials = Vec::new();
    let machines =
        [&BOOKWORM, &TRIXIE, &SELINUX].map(|kind| Chosen::new(kind, &programs, &arguments));
    let machines = machines.map(|(chosen, own)| {
        trials.extend(own);
        chosen
    });
    if arguments.list {
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let consoles: Vec<_> = machines.iter().map(|machine| Arc::clone(&machine.cases)).collect();
    let left = Mutex::new(machines.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        // Two side by side: much of what they do is waiting.
        for _ in 0..2 {
            scope.spawn(|| iter::from_fn(&next).for_each(Chosen::run));
        }
        let conclusion = libtest_mimic::run(&arguments, trials);
        if conclusion.has_failed() {
            consoles.iter().for_each(|cases| eprintln!("{}", cases.console()));
        }
        conclusion.exit_code()
    })
}

/// What one machine is to run.
struct Chosen<'p> {
    kind: &'static Kind,
    tests: Vec<(&'p Program, Vec<String>)>,
    cases: Arc<Cases>,
    /// Is there anything for it to do?
    is_wanted: bool,
}

impl<'p> Chosen<'p> {
    fn new(
        kind: &'static Kind,
        programs: &'p [Program],
        arguments: &Arguments,
    ) -> (Self, Vec<Trial>) {
        let cases = Arc::new(Cases::default());
        let titled = |name: &str| match kind.name {
            "" => name.to_owned(),
            title => format!("{title}::{name}"),
        };
        let mut trials = vec![trial(titled("machine::boots_and_goes_off"), &cases, Cases::end)];
        let mut tests = Vec::new();
        for program in programs {
            let mut wanted = Vec::new();
            for name in program.tests(kind) {
                let case = program.case(&name);
                let title = titled(&case);
                let trial = trial(title, &cases, move |cases: &Cases| cases.wait(&case));
                if !arguments.is_filtered_out(&trial) {
                    wanted.push(name);
                }
                trials.push(trial);
            }
            tests.push((program, wanted));
        }
        let is_wanted = trials.iter().any(|trial| !arguments.is_filtered_out(trial));
        (Self { kind, tests, cases, is_wanted }, trials)
    }

    /// Boots the machine, and waits until it is off.
    fn run(&self) {
        if !self.is_wanted {
            return;
        }
        let boot = || Machine::boot(self.kind, &self.tests, Arc::clone(&self.cases)).wait();
        if panic::catch_unwind(AssertUnwindSafe(boot)).is_err() {
            // Or its cases would be waited for without end.
            self.cases.finish(Err("it couldn't be booted".to_owned()), String::new());
        }
    }
}

/// A case whose outcome is asked for when its turn comes.
fn trial<F>(name: String, cases: &Arc<Cases>, ask: F) -> Trial
where
    F: FnOnce(&Cases) -> Result<(), String> + Send + 'static,
{
    let cases = Arc::clone(cases);
    let runner = move || ask(&cases).map_err(Failed::from);
    Trial::test(name, runner).with_ignored_flag(true)
}
