//! Help, version and completion: complete, and in step with the README.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::{DEADLINE, Host, command};

/// Verbs that the issue names; each has its help.
const VERBS: &[&str] = &[
    "build",
    "start",
    "stop",
    "restart",
    "reboot",
    "enter",
    "exec",
    "suexec",
    "console",
    "status",
    "running",
    "list",
    "logs",
    "delete",
    "wait",
    "events",
    "config",
    "doctor",
    "completion",
    "demo",
];

/// The verbs that the program's own help lists.
fn listed(host: &Host) -> Vec<String> {
    let help = host.vserver(["--help"]).ok();
    let section = help.stdout.lines().skip_while(|line| *line != "Verbs:").skip(1);
    let section = section.take_while(|line| !line.is_empty());
    // Verbs stand at two columns, and what continues a line further right.
    let verbs = section.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    verbs.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_verb_is_listed_and_has_help() {
    let host = Host::without_root();
    let listed = listed(&host);
    for verb in VERBS {
        assert!(listed.iter().any(|other| other == verb), "'{verb}' is not in --help: {listed:?}");
        let help = host.vserver([verb, "--help"]).ok();
        assert!(help.stdout.contains("Usage: vserver"), "{help}");
    }
}

#[test]
fn every_listed_verb_is_in_the_readme() {
    let host = Host::without_root();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(path).unwrap_or_default();
    let missing: Vec<_> = listed(&host)
        .into_iter()
        .filter(|verb| verb != "help" && !readme.contains(&format!("`{verb}")))
        .filter(|verb| !readme.contains(&format!("vserver {verb}")))
        .collect();
    assert!(missing.is_empty(), "verbs that README.md doesn't know: {missing:?}");
}

#[test]
fn version_stands_second_in_the_first_line() {
    let host = Host::without_root();
    let version = host.vserver(["--version"]).ok();
    let words: Vec<_> = version.stdout.split_whitespace().take(2).collect();
    assert_eq!(words, ["vserver", env!("CARGO_PKG_VERSION")], "{version}");
}

#[test]
fn completions_are_right_for_their_shells() {
    let host = Host::without_root();
    for shell in ["bash", "zsh", "fish"] {
        let script = host.vserver(["completion", shell]).ok();
        assert!(script.stdout.contains("suexec"), "{shell} completes no verbs");
        if shell == "bash" {
            let file = host.prefix().join("completion");
            fs::write(&file, &script.stdout).expect("a file can be written");
            command::run(Command::new("bash").arg("-n").arg(&file), DEADLINE).ok();
        }
    }
}

/// What bash would offer at the end of this line; it makes words of their own of ':',
/// '=' and '@', as readline does.
fn offered(host: &Host, line: &str) -> Vec<String> {
    const ASK: &str = r#"
        vserver() { "$PROGRAM" "$@"; }
        source "$SCRIPT"
        compopt() { :; }
        COMP_LINE=$1 COMP_POINT=${#1}
        read -ra COMP_WORDS <<<"$(sed 's/[:=@]/ & /g' <<<"$1")"
        [[ $1 != *' ' ]] || COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        last=$COMP_CWORD
        _vserver_with_candidates vserver "${COMP_WORDS[last]}" "${COMP_WORDS[last - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ASK, "bash", line]).current_dir(host.prefix());
    bash.env(vserver::variables::PREFIX, host.prefix());
    bash.env("PROGRAM", tests::host::program()).env("SCRIPT", host.prefix().join("completion"));
    let answer = command::run(&mut bash, DEADLINE).ok();
    answer.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_offers_what_can_stand_there() {
    let host = Host::without_root();
    let script = host.vserver(["completion", "bash"]).ok();
    fs::write(host.prefix().join("completion"), &script.stdout).expect("a file can be written");
    let web = "context = 100\nmarks = [\"db\"]\n[devices]\n\
               allow = [\"/dev/fuse rw\"]\n";
    host.configure("web", web);
    host.configure("tiny", "context = 101\nmarks = [\"batch\"]\n");
    for (line, wanted) in [
        ("vserver start ", &["tiny", "web"] as &[&str]),
        ("vserver start w", &["web"]),
        ("vserver clone ", &["tiny", "web"]),
        ("vserver clone web ", &[]),
        ("vserver rename t", &["tiny"]),
        ("vserver import f ", &[]),
        ("vserver enter -u www ", &["tiny", "web"]),
        ("vserver start --mark ", &["batch", "db"]),
        ("vserver cp we", &["web:"]),
        ("vserver cp comp", &["completion"]),
        ("vserver vkill -c ", &["tiny", "web"]),
        ("vserver vserver-info t", &["tiny"]),
        ("vserver device remove web ", &["/dev/fuse"]),
        ("vserver config unset web boot.stop", &["boot.stop_timeout"]),
        ("vserver limits web mem", &["memory=", "memory_high="]),
        ("vserver config che", &["check"]),
        ("vserver completion z", &["zsh"]),
        ("vserver start --no-w", &["--no-wait"]),
    ] {
        let found = offered(&host, line);
        if line.contains("limits") {
            assert!(found.contains(&wanted[0].to_owned()), "{line}: {found:?}");
        } else {
            assert_eq!(found, wanted, "{line}");
        }
    }
    host.vserver(["__complete", "--", "start", "web"]).ok().says("tiny\nweb\n");
    host.vserver(["__complete", "--", "frobnicate"]).code(1).says("");
    // The shell would execute it.
    host.configure("evil", "context = 102\nmarks = [\"$(id)\", \"fine\"]\n");
    assert_eq!(offered(&host, "vserver start --mark "), ["batch", "db", "fine"]);
}

#[test]
fn a_reader_that_has_gone_is_no_crash() {
    let host = Host::without_root();
    let mut help = host.command(["--help"]);
    let mut child = help.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn doctor_has_a_line_for_everything_and_a_remedy_for_what_is_missing() {
    let host = Host::without_root();
    let doctor = host.vserver(["doctor"]);
    assert!(doctor.code <= 1, "{doctor}");
    assert!(doctor.stdout.lines().count() > 5, "{doctor}");
    let json = host.vserver(["doctor", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    assert!(value.as_array().is_some_and(|lines| lines.len() > 5), "{json}");
}
