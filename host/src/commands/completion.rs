//! `vserver completion`: scripts that complete words in a shell.
//!
//! clap writes them; what it doesn't know, the names of guests, is added:
//! they come from `vserver list --names` at the time of completion.

use std::fmt::Write;

use clap::Command;
use clap_complete::Shell as Generator;

use crate::cli::{self, CompletionArgs, Shell};
use crate::commands::{Exit, output};
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Prints the script.
pub(super) fn run(args: &CompletionArgs, _paths: &Paths) -> Result<Exit> {
    output::print(&script(args.shell)?)?;
    Ok(Exit::DONE)
}

/// The scripts of this program and of the tools, with their names. What most
/// of the words belong to another program for has none.
pub(super) fn all(shell: Shell) -> Result<Vec<(String, String)>> {
    let mut scripts = vec![("vserver".to_owned(), script(shell)?)];
    for mut program in cli::tools::programs() {
        let passes = program.get_positionals().any(|argument| argument.get_id() == "options");
        if !passes {
            let name = program.get_name().to_owned();
            let script = generate(shell, &mut program, &name)?;
            scripts.push((name, script));
        }
    }
    Ok(scripts)
}

fn script(shell: Shell) -> Result<String> {
    let add_guests = match shell {
        Shell::Bash => bash,
        Shell::Zsh => zsh,
        Shell::Fish => fish,
    };
    generate(shell, &mut visible(), "vserver").map(add_guests)
}

fn generate(shell: Shell, command: &mut Command, name: &str) -> Result<String> {
    let generator = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, command, name, &mut script);
    String::from_utf8(script).map_err(|error| Error::new(error.to_string()))
}

/// The command line without what users don't type.
fn visible() -> Command {
    let whole = cli::command();
    let verbs: Vec<_> =
        whole.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    let mut bare = Command::new("vserver").version("-").subcommands(verbs);
    for argument in whole.get_arguments() {
        bare = bare.arg(argument.clone());
    }
    bare
}

/// A verb after whose other words a guest's name can stand.
struct Place {
    verb: String,
    /// How many words stand before it, the verb included.
    before: usize,
    /// Can more names follow?
    many: bool,
}

fn places() -> Vec<Place> {
    let command = cli::command();
    let mut places = Vec::new();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        // The name of a guest to be built doesn't exist yet.
        if verb.get_name() != "build" {
            places.extend(place(verb, verb.get_name(), 0));
        }
        let below = verb.get_subcommands().find_map(|inner| place(inner, verb.get_name(), 1));
        places.extend(below);
    }
    places
}

fn place(command: &Command, verb: &str, deeper: usize) -> Option<Place> {
    let mut positionals = command.get_positionals().enumerate();
    let found =
        positionals.find(|(_, argument)| matches!(argument.get_id().as_str(), "name" | "names"));
    found.map(|(index, argument)| Place {
        verb: verb.to_owned(),
        before: index + 1 + deeper,
        many: argument.get_id() == "names",
    })
}

/// Puts a function around clap's that adds guests where their names belong.
fn bash(script: String) -> String {
    let mut patterns: Vec<String> = Vec::new();
    for Place { verb, before, many } in places() {
        patterns.push(format!("{verb}:{}", if many { "*".into() } else { before.to_string() }));
    }
    let patterns = patterns.join("|");
    let script = script.replace("complete -F _vserver ", "complete -F _vserver_with_guests ");
    format!(
        "_vserver_with_guests() {{
    _vserver \"$@\"
    local word words=()
    for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do
        [[ $word == -* ]] || words+=(\"$word\")
    done
    word=${{COMP_WORDS[COMP_CWORD]}}
    if [[ $word != -* && ${{#words[@]}} -gt 0 ]]; then
        case \"${{words[0]}}:${{#words[@]}}\" in
            {patterns})
                COMPREPLY+=($(compgen -W \"$(vserver list --names 2>/dev/null)\" -- \"$word\"))
                ;;
        esac
    fi
}}

{script}"
    )
}

/// Names a function of ours where clap would complete files.
fn zsh(script: String) -> String {
    let mut completed = String::with_capacity(script.len() + 300);
    for (number, line) in script.lines().enumerate() {
        let is_name = line.contains(":name -- Which guest") || line.contains("::names -- ");
        let line =
            if is_name { line.replace(":_default'", ":_vserver_guests'") } else { line.into() };
        completed.push_str(&line);
        completed.push('\n');
        // The first line, "#compdef vserver", must stay the first.
        if number == 0 {
            completed.push_str(
                "\n_vserver_guests() {\n    local -a guests\n    \
                 guests=(${(f)\"$(vserver list --names 2>/dev/null)\"})\n    \
                 compadd -a guests\n}\n",
            );
        }
    }
    completed
}

/// Adds a line for each verb that is followed by guests.
fn fish(mut script: String) -> String {
    for Place { verb, .. } in places() {
        let _ = writeln!(
            script,
            "complete -c vserver -n \"__fish_vserver_using_subcommand {verb}\" -f \
             -a \"(vserver list --names 2>/dev/null)\""
        );
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_completed_where_their_names_stand() {
        let bash = script(Shell::Bash).unwrap();
        for pattern in ["start:*", "exec:1", "suexec:2", "config:2"] {
            assert!(bash.contains(&format!("{pattern}|")) || bash.contains(&format!("|{pattern}")));
        }
        assert!(!bash.contains("build:1") && !bash.contains("supervise"));
        let zsh = script(Shell::Zsh).unwrap();
        assert!(zsh.starts_with("#compdef vserver\n"));
        assert!(zsh.contains("'*::names -- Names of guests:_vserver_guests'"));
        assert!(zsh.contains("':name -- Which guest:_vserver_guests'"));
        let fish = script(Shell::Fish).unwrap();
        assert!(fish.contains("__fish_vserver_using_subcommand start\" -f -a"));
    }
}
