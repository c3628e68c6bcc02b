//! The `vserver` program: parse, carry out, say what failed, exit.

use std::env;
use std::process::ExitCode;

use vserver::cli;
use vserver::commands::{self, output};
use vserver::log;
use vserver::paths::Paths;

fn main() -> ExitCode {
    let argv: Vec<_> = env::args_os().collect();
    let tool = cli::tools::called(&argv);
    if let Some(tool) = tool {
        output::set_program(tool);
    }
    let line = match cli::parse(argv) {
        Ok(line) => line,
        Err(usage) => {
            // Help and version come this way too, to standard output. Nobody
            // is left to tell when they can't be written.
            let _ = usage.print();
            return ExitCode::from(commands::exit_code_of_usage(tool, usage.exit_code()));
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
