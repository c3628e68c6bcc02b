//! The VM tier: tests that need a host of another kind than the one they are
//! started on. One boot of a virtual machine (`image.sh`) runs them all.
//!
//! Its cases are those of `inside/`, written for that host, and some of the
//! guest tests, which show that vserver is the same there. What each of them
//! says inside becomes a case of this program.

mod cases;
mod machine;
mod payload;
mod programs;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use cases::Cases;
use machine::Machine;

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
    let cases = Arc::new(Cases::default());
    let mut trials = vec![trial("machine::boots_and_goes_off".to_owned(), &cases, Cases::end)];
    let mut selected = Vec::new();
    for program in &programs {
        let mut wanted = Vec::new();
        for name in program.tests() {
            let case = program.case(&name);
            let wait = move |cases: &Cases| cases.wait(&case);
            let trial = trial(program.case(&name), &cases, wait);
            if !arguments.is_filtered_out(&trial) {
                wanted.push(name);
            }
            trials.push(trial);
        }
        selected.push((program, wanted));
    }
    let any = trials.iter().any(|trial| !arguments.is_filtered_out(trial));
    if arguments.list || !any {
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let machine = Machine::boot(&selected, Arc::clone(&cases));
    let conclusion = libtest_mimic::run(&arguments, trials);
    machine.wait();
    if conclusion.has_failed() {
        eprintln!("{}", cases.console());
    }
    conclusion.exit_code()
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
