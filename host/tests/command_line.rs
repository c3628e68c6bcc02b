//! The built program as any user meets it: help, exit codes, configuration.
//! Nothing here needs root or touches anything outside a temporary prefix.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// An installation of its own, without guests.
struct Prefix {
    directory: TempDir,
}

impl Prefix {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(directory.path().join("etc/vservers")).expect("a directory");
        Self { directory }
    }

    fn config(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("etc/vservers/{name}.toml"))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.config(name), text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.config(name)).expect("a file")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vserver"));
        command.args(line.split_ascii_whitespace());
        command.env("VSERVER_PREFIX", self.directory.path()).stdin(Stdio::null());
        command
    }

    /// Standard output, standard error and exit code.
    fn run(&self, line: &str) -> (String, String, i32) {
        answer(self.command(line).output().expect("the program runs"))
    }
}

fn answer(output: Output) -> (String, String, i32) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr), output.status.code().expect("no signal"))
}

#[test]
fn the_version_has_util_vservers_form() {
    let (out, _, code) = Prefix::new().run("--version");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(code, 0);
    let start = format!("vserver {version} -- virtual servers on an unpatched Linux kernel\n");
    assert!(out.starts_with(&start), "{out}");
    assert!(out.contains(&format!("\nThis program is part of vserver {version}\n\n")), "{out}");
}

#[test]
fn a_misspelt_verb_is_mended_in_either_order() {
    for line in ["strat web", "web strat"] {
        let (_, err, code) = Prefix::new().run(line);
        assert_eq!(code, 2);
        assert!(err.contains("'strat'") && err.contains("'start'"), "{err}");
    }
}

#[test]
fn failures_have_their_exit_codes() {
    let prefix = Prefix::new();
    for (line, wanted) in [
        ("status nobody", 5),
        ("nobody status", 5),
        ("config show nobody", 5),
        ("exec nobody -- true", 125),
        ("suexec www nobody -- true", 125),
        ("running nobody", 5),
        ("build start", 2),
        ("start", 2),
        ("start a --all", 2),
        ("list", 0),
        ("config check", 0),
    ] {
        let (out, err, code) = prefix.run(line);
        assert_eq!(code, wanted, "{line}: {out}{err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}

#[test]
fn a_closed_or_full_output_is_no_panic() {
    let prefix = Prefix::new();
    for line in ["--help", "completion bash", "doctor", "help start"] {
        let mut child = prefix
            .command(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        drop(child.stdout.take());
        let (_, err, _) = answer(child.wait_with_output().expect("it ends"));
        assert_eq!(err, "", "{line}");
    }
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = prefix.command("completion bash").stdout(full).output().expect("it runs");
    let (_, err, code) = answer(output);
    assert_eq!(code, 1);
    assert!(err.starts_with("vserver: cannot write to standard output: No space"), "{err}");
}

#[test]
fn config_set_and_unset_leave_the_rest_alone() {
    let prefix = Prefix::new();
    let text = "# ours\ncontext = 40000\n\n[boot]\n#stop_timeout = \"1m\"\nstyle = \"sysv\" # !\n";
    prefix.write("web", text);
    assert_eq!(prefix.run("config set web boot.stop_timeout 90s").2, 0);
    assert_eq!(
        prefix.read("web"),
        text.replace("#stop_timeout = \"1m\"", "stop_timeout = \"90s\"")
    );
    assert_eq!(prefix.run("config unset web boot.stop_timeout").2, 0);
    assert_eq!(prefix.read("web"), text.replace("1m", "90s"));
    let before = prefix.read("web");
    let (out, _, code) = prefix.run("config set web marks a b --dry-run");
    assert!(code == 0 && out.contains("marks = [\"a\", \"b\"]"), "{out}");
    // A wrong word on the command line is wrong use; one that only spoils the
    // file as a whole is a failure.
    for (line, expected) in [
        ("set web boot.stile x", 2),
        ("set web boot.style x", 2),
        ("set web boot.kill_grace 9m", 1),
    ] {
        let (_, err, code) = prefix.run(&format!("config {line}"));
        assert_eq!(code, expected, "{line}: {err}");
    }
    assert_eq!(prefix.read("web"), before);
}

#[test]
fn config_check_shows_every_mistake_of_every_guest() {
    let prefix = Prefix::new();
    prefix.write("a", "context = 40000\n[boot]\nstile = \"sysv\"\nrunlevel = \"x\"\n");
    prefix.write("b", "context = 40000\n");
    let (out, err, code) = prefix.run("config check");
    assert_eq!((out.as_str(), code), ("", 1));
    for part in
        ["a.toml:3:1: ", "| ^^^^^ did you mean 'style'?", "a.toml:4:12: ", "context 40000 is also"]
    {
        assert!(err.contains(part), "{part} is not in\n{err}");
    }
}

#[test]
fn doctor_tells_programs_too() {
    let (out, _, code) = Prefix::new().run("doctor --json");
    let findings: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let findings = findings.as_array().expect("an array");
    let is_missing = |finding: &serde_json::Value| finding["grade"] == "missing";
    assert_eq!(code == 1, findings.iter().any(is_missing));
}
