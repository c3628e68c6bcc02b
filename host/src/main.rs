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
    let paths = Paths::from_environment();
    if let Some(end) = commands::run_unparsed(&argv, &paths) {
        return end.map_or_else(
            |error| {
                output::complain(&error);
                ExitCode::from(error.kind().exit_code())
            },
            |exit| ExitCode::from(exit.code()),
        );
    }
    let options = match cli::builds(&argv).then(|| commands::options_of_build(&paths)) {
        Some(Ok(options)) => options,
        None => Vec::new(),
        Some(Err(error)) => {
            output::complain(&error);
            return ExitCode::from(error.kind().exit_code());
        }
    };
    let has_options = !options.is_empty();
    let line = match cli::parse(argv.clone(), &options) {
        Ok(line) => line,
        Err(usage) => {
            if let Some(error) = commands::explain(&argv, &usage, &paths) {
                output::complain(&error);
                return ExitCode::from(error.kind().exit_code());
            }
            if has_options && usage.use_stderr() {
                let file = paths.build_options();
                output::remark(format_args!("options in '{}' count, too", file.display()));
            }
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
    match commands::run(&line.action, &paths) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            output::complain(&error);
            ExitCode::from(commands::exit_code_of_failure(&line.action, &error))
        }
    }
}
