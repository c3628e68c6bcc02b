//! `vserver completion`: scripts that complete words in a shell.
//!
//! clap writes them; what it doesn't know, such as the names of guests, is added:
//! `vserver __complete` tells it at the time of completion.

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
            let script = with_candidates(shell, script, &name);
            scripts.push((name, script));
        }
    }
    Ok(scripts)
}

fn script(shell: Shell) -> Result<String> {
    generate(shell, &mut visible(), "vserver")
        .map(|script| with_candidates(shell, script, "vserver"))
}

fn with_candidates(shell: Shell, script: String, program: &str) -> String {
    match shell {
        Shell::Bash => bash(&script, program),
        Shell::Zsh => zsh(&script, program),
        Shell::Fish => fish(script, program),
    }
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

/// The words with which a script asks; a tool is a verb, too.
fn question(program: &str) -> String {
    let verb = if program == "vserver" { String::new() } else { format!(" {program}") };
    format!("vserver __complete --{verb}")
}

/// What clap calls a program in names of functions of bash.
fn function(program: &str) -> String {
    program.replace('-', "__")
}

/// Puts a function around clap's that asks first. bash makes several words of one with
/// a ':', '=' or '@', and replaces the last of these only.
fn bash(script: &str, program: &str) -> String {
    let ask = question(program);
    let name = function(program);
    let script = script.replace(
        &format!("complete -F _{name} "),
        &format!("complete -F _{name}_with_candidates "),
    );
    format!(
        "_{name}_with_candidates() {{
    local found known part=${{COMP_WORDS[COMP_CWORD]}} whole= words
    read -ra words <<<\"${{COMP_LINE:0:COMP_POINT}}\"
    if [[ ${{COMP_LINE:0:COMP_POINT}} != *[[:space:]] ]]; then
        whole=${{words[${{#words[@]}}-1]}}
        unset \"words[${{#words[@]}}-1]\"
    fi
    known=1
    if [[ $whole != -* ]]; then
        found=$({ask} \"${{words[@]:1}}\" 2>/dev/null)
        known=$?
    fi
    if [[ $known != 0 && $known != 6 ]]; then
        _{name} \"$@\"
        return
    fi
    COMPREPLY=($(compgen -W \"$found\" -- \"$whole\"))
    [[ $part == [:=@] ]] && part=
    COMPREPLY=(\"${{COMPREPLY[@]#\"${{whole%\"$part\"}}\"}}\")
    if [[ $known == 6 && $whole == *:* ]]; then
        COMPREPLY=()
    elif [[ $known == 6 ]]; then
        # With it, the ':' of a guest would be quoted.
        [[ ${{#COMPREPLY[@]}} != 0 ]] || compopt -o filenames
        mapfile -t -O ${{#COMPREPLY[@]}} COMPREPLY < <(compgen -f -- \"$part\")
    fi
    if [[ ${{#COMPREPLY[@]}} == 0 ]]; then
        compopt +o default +o bashdefault
    elif [[ ${{COMPREPLY[0]}} == *[:=] ]]; then
        compopt -o nospace
    fi
}}

{script}"
    )
}

/// Gives clap's function another name, and its own to one that asks first.
fn zsh(script: &str, program: &str) -> String {
    let ask = question(program);
    let script = script.replacen(
        &format!("\n_{program}() {{\n"),
        &format!("\n_{program}_by_words() {{\n"),
        1,
    );
    // The first line, "#compdef vserver", must stay the first.
    let (first, rest) = script.split_once('\n').unwrap_or((&script, ""));
    format!(
        "{first}

_{program}() {{
    local known=1
    local -a found
    if [[ $PREFIX != -* ]]; then
        found=(${{(f)\"$({ask} \"${{(@)words[2,CURRENT-1]}}\" 2>/dev/null)\"}})
        known=$?
    fi
    case $known$PREFIX in
        6*:*) ;;
        0*|6*)
            compadd -S '' -- ${{(M)found:#*[:=]}}
            compadd -- ${{found:#*[:=]}}
            (( known == 0 )) || _files
            ;;
        *) _{program}_by_words \"$@\" ;;
    esac
}}
{rest}"
    )
}

/// Adds what asks to clap's lines: for words, and for options that take such values.
fn fish(mut script: String, program: &str) -> String {
    let ask = question(program);
    let name = format!("__{}", program.replace('-', "_"));
    let _ = write!(
        script,
        "
function {name}_candidates
    {ask} (commandline -opc)[2..-1] 2>/dev/null
end
function {name}_knows
    {name}_candidates >/dev/null
    test $status -eq $argv[1]
end
complete -c {program} -n '{name}_knows 0' -f -a '({name}_candidates)'
complete -c {program} -n '{name}_knows 6' -F -a '({name}_candidates)'
"
    );
    let command = cli::command();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let condition = match (program, verb.get_name()) {
            ("vserver", verb) => format!("__fish_vserver_using_subcommand {verb}"),
            (tool, verb) if tool == verb => "true".to_owned(),
            _ => continue,
        };
        for option in verb.get_opts() {
            let known = cli::kind(verb.get_name(), option.get_id().as_str()).is_some();
            if let Some(long) = option.get_long().filter(|_| known) {
                let short = option.get_short().map(|short| format!(" -s {short}"));
                let _ = writeln!(
                    script,
                    "complete -c {program} -n \"{condition}\"{} -l {long} -r -f \
                     -a '({name}_candidates)'",
                    short.unwrap_or_default()
                );
            }
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_ask_for_candidates() {
        let ask = "vserver __complete -- ";
        let bash = script(Shell::Bash).unwrap();
        assert!(bash.contains(ask) && bash.contains("complete -F _vserver_with_candidates "));
        assert!(!bash.contains("complete -F _vserver "), "{bash}");
        let zsh = script(Shell::Zsh).unwrap();
        assert!(zsh.starts_with("#compdef vserver\n") && zsh.contains(ask));
        for function in ["_vserver() {", "_vserver_by_words() {"] {
            assert_eq!(zsh.lines().filter(|line| *line == function).count(), 1, "{function}");
        }
        let fish = script(Shell::Fish).unwrap();
        assert!(fish.contains("__fish_vserver_using_subcommand start\" -l mark -r -f -a"));
        let tools = all(Shell::Fish).unwrap();
        let vkill = tools.iter().find(|(program, _)| program == "vkill");
        let (_, vkill) = vkill.unwrap();
        assert!(vkill.contains("complete -c vkill -n \"true\" -s c -l xid -r -f -a"), "{vkill}");
        for (program, script) in all(Shell::Bash).unwrap() {
            let wanted = format!("complete -F _{}_with_candidates ", function(&program));
            assert!(script.contains(&wanted), "{program}");
        }
    }
}
