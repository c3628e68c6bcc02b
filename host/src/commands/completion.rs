//! `vserver completion`: scripts that complete words in a shell.

use clap_complete::Shell as Generator;

use crate::cli::{self, CompletionArgs, Shell};
use crate::commands::{Exit, output};
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Prints the script.
pub(super) fn run(args: &CompletionArgs, _paths: &Paths) -> Result<Exit> {
    let generator = match args.shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut cli::command(), "vserver", &mut script);
    let script = String::from_utf8(script).map_err(|error| Error::new(error.to_string()))?;
    output::print(&script)?;
    Ok(Exit::DONE)
}
