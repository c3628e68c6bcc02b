//! The `vserver` program: parse, carry out, say what failed, exit.

use std::env;
use std::process::ExitCode;

use vserver::cli;
use vserver::commands::{self, output};
use vserver::log;
use vserver::paths::Paths;

fn main() -> ExitCode {
    let line = match cli::parse(env::args_os().collect()) {
        Ok(line) => line,
        Err(usage) => {
            // Help and version come this way too, to standard output. Nobody
            // is left to tell when they can't be written.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    output::set_quiet(line.quiet);
    if line.verbose {
        log::terminal();
    }
    match commands::run(&line.action, &Paths::from_environment()) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            output::complain(&error);
            ExitCode::from(commands::exit_code_of_failure(&line.action, &error))
        }
    }
}
