//! Configurations of other managers: what is written and what is left, what
//! the exit code says, and that nothing of theirs is run.

use std::fs;
use std::path::{Path, PathBuf};

use tests::{Finished, Host};

/// A file of theirs, below the installation.
fn theirs(host: &Host, name: &str, text: &str) -> PathBuf {
    let path = host.prefix().join("theirs").join(name);
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory can be made");
    fs::write(&path, text).expect("it can be written");
    path
}

#[track_caller]
fn import(host: &Host, path: &Path, more: &[&str]) -> Finished {
    let mut words = vec!["config", "import", path.to_str().expect("text")];
    words.extend(more);
    host.vserver(words)
}

fn written(host: &Host, name: &str) -> Option<String> {
    fs::read_to_string(host.paths().config(&name.parse().expect("a name"))).ok()
}

#[test]
fn what_has_a_counterpart_is_written_and_checked() {
    let host = Host::without_root();
    let path = theirs(&host, "web.conf", "S_HOSTNAME=web.example.org\nS_CONTEXT=42\nONBOOT=yes\n");
    let answer = import(&host, &path, &[]).code(0);
    let shown = format!(
        "'{path}' is util-vserver's NAME.conf\n\n\
         LINE        THEIRS                        OURS\n\
         web.conf:1  S_HOSTNAME = web.example.org  hostname = \"web.example.org\"\n\
         web.conf:2  S_CONTEXT = 42                context = 42\n\
         web.conf:3  ONBOOT = yes                  autostart = true\n\n\
         guest 'web' is configured in '{written}'\n\
         next: vserver build web --method directory --from DIR\n",
        path = path.display(),
        written = host.prefix().join("etc/vservers/web.toml").display(),
    );
    answer.says(&shown);
    host.vserver(["config", "check"]).ok();
    let config = written(&host, "web").expect("it is written");
    assert!(config.contains("\ncontext = 42\n") && config.contains("\nautostart = true\n"));
}

#[test]
fn what_has_none_is_said_with_its_place_and_another_exit_code() {
    let host = Host::without_root();
    let path = theirs(&host, "web.conf", "ONBOOT=yes\nS_FLAGS=\"lock private\"\nX=`id`\n");
    let answer = import(&host, &path, &[]).code(6);
    let path = path.display();
    for line in [
        format!("{path}:2: S_FLAGS = private\n    the host's root can enter every guest\n"),
        format!("{path}:3: X = `id`\n    it has the output of a command, which is not run\n"),
    ] {
        assert!(answer.stdout.contains(&line), "{line} is missing\n{answer}");
    }
    assert!(written(&host, "web").is_some());
}

#[test]
fn nothing_of_theirs_is_run() {
    let host = Host::without_root();
    let proof = host.prefix().join("proof");
    let text = format!("A=$(touch {0})\ntouch {0}\nB=`touch {0}`\nONBOOT=no\n", proof.display());
    let path = theirs(&host, "web.conf", &text);
    theirs(&host, "web.sh", &format!("#!/bin/sh\ntouch {}\n", proof.display()));
    import(&host, &path, &["--from", "legacy"]).code(6);
    assert!(!proof.exists());
}

#[test]
fn a_dry_run_prints_what_would_be_written_and_writes_nothing() {
    let host = Host::without_root();
    let path = theirs(&host, "web/config", "lxc.uts.name = web\nlxc.hook.start = /x\n");
    let dry = import(&host, &path, &["--dry-run"]).code(6);
    assert!(dry.stdout.contains("\nhostname = \"web\"\n"), "{dry}");
    let dry = dry.complains("without counterpart");
    assert!(!host.paths().config_dir().exists() && !host.paths().state_dir().exists());
    import(&host, &path, &[]).code(6);
    let config = written(&host, "web").expect("it is written");
    // But for the number, which is chosen now.
    assert_eq!(config.replace("\ncontext = 40000\n", "\n#context = 40000\n"), dry.stdout);
}

/// As Incus keeps it beside a guest's files.
const BACKUP: &str = "container:
  name: shop
  architecture: x86_64
  type: container
  config:
    limits.memory: 1GiB
  expanded_config:
    limits.memory: 2GiB
    raw.lxc: lxc.start.delay = 3
  expanded_devices:
    root:
      path: /
      pool: default
      type: disk
pool:
  name: default
";

#[test]
fn incus_own_files_are_read() {
    let host = Host::without_root();
    let path = theirs(&host, "web/backup.yaml", BACKUP);
    let answer = import(&host, path.parent().expect("it has one"), &[]).code(6);
    assert!(answer.stdout.contains("backup.yaml:9: config.raw.lxc"), "{answer}");
    let config = written(&host, "shop").expect("it is written");
    assert!(config.contains("\nmemory = \"2G\"\n"), "{config}");
    let image = theirs(&host, "metadata.yaml", "architecture: x86_64\nproperties:\n  os: x\n");
    let answer = import(&host, &image, &["--from", "incus", "--name", "web"]).code(6);
    assert!(answer.stdout.contains("it is an image's"), "{answer}");
}

#[test]
fn json_has_every_setting_and_what_became_of_it() {
    let host = Host::without_root();
    let text = "[Exec]\nHostname=web\nPrivateUsers=pick\nUser=me\n";
    let path = theirs(&host, "web.nspawn", text);
    let answer = import(&host, &path, &["--json"]).code(6);
    let value: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!((&value["name"], &value["format"]), (&"web".into(), &"nspawn".into()));
    assert_eq!(value["complete"], false);
    let settings = value["settings"].as_array().expect("an array");
    let outcomes: Vec<_> = settings.iter().map(|one| (&one["line"], &one["outcome"])).collect();
    let wanted = [(2, "translated"), (3, "unneeded"), (4, "missing")]
        .map(|(line, word)| (serde_json::Value::from(line), serde_json::Value::from(word)));
    assert_eq!(outcomes, wanted.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    assert_eq!(settings[0]["ours"][0], serde_json::json!({"key": "hostname", "value": "web"}));
    assert_eq!(value["configuration"].as_str().map(str::to_owned), written(&host, "web"));
}

#[test]
fn a_context_that_is_anothers_is_chosen_anew() {
    let host = Host::without_root();
    host.configure("db", "context = 42\n");
    let path = theirs(&host, "web.conf", "S_CONTEXT=42\n");
    let dry = import(&host, &path, &["--dry-run"]).code(0);
    dry.complains("another guest has it");
    let answer = import(&host, &path, &[]).code(0);
    assert!(answer.stdout.contains("context = 40000 (the other one is guest 'db''s)"), "{answer}");
}

#[test]
fn a_guest_that_exists_is_left_as_it_is() {
    let host = Host::without_root();
    host.configure("web", "context = 7\n");
    let path = theirs(&host, "web.conf", "ONBOOT=yes\n");
    import(&host, &path, &["--from", "legacy"]).code(1).complains("guest 'web' exists");
    assert_eq!(written(&host, "web").as_deref(), Some("context = 7\n"));
    import(&host, &path, &["--from", "legacy", "--name", "web2"]).ok();
}

#[test]
fn what_cant_be_read_leaves_nothing() {
    let host = Host::without_root();
    let unknown = theirs(&host, "notes.txt", "dear diary\n");
    import(&host, &unknown, &[]).code(1).complains("cannot tell whose configuration");
    let verb = theirs(&host, "start.nspawn", "[Exec]\nBoot=yes\n");
    import(&host, &verb, &[]).code(2).complains("'--name NAME' gives it another name");
    import(&host, &host.prefix().join("nowhere"), &[]).code(1).complains("No such file");
    let path = theirs(&host, "web.conf", "ONBOOT=yes\n");
    let root = host.prefix().join("theirs");
    let root = root.to_str().expect("text");
    import(&host, &path, &["--from", "legacy", "--root", root]).code(1).complains("no system");
    host.configure("defaults", "nonsense = 1\n");
    import(&host, &path, &["--from", "legacy"]).code(1).complains("nonsense");
    fs::remove_file(host.paths().defaults()).expect("it can be removed");
    let names: Vec<_> = fs::read_dir(host.paths().config_dir()).expect("it is").collect();
    assert!(names.is_empty(), "{names:?}");
    // Nothing was given out, either.
    import(&host, &path, &["--from", "legacy"]).ok();
    assert!(written(&host, "web").is_some_and(|text| text.contains("\ncontext = 40000\n")));
}

#[test]
fn a_directory_is_told_and_its_scripts_are_listed() {
    let host = Host::without_root();
    for (name, text) in [
        ("web/context", "1234\n"),
        ("web/uts/nodename", "web.example.org\n"),
        ("web/interfaces/0/ip", "192.0.2.10\n"),
        ("web/scripts/pre-start.d/10-x", "#!/bin/sh\nexit 1\n"),
        ("web/.git/config", "[core]\n"),
        ("web/context~", "1\n"),
    ] {
        theirs(&host, name, text);
    }
    let path = host.prefix().join("theirs/web");
    std::os::unix::fs::symlink("/vservers/web", path.join("vdir")).expect("a link");
    let answer = import(&host, &path, &[]).code(6);
    assert!(answer.stdout.contains("scripts/pre-start.d/10-x\n    what it did"), "{answer}");
    assert!(!answer.stdout.contains(".git") && !answer.stdout.contains("context~"), "{answer}");
    assert!(answer.stdout.contains("--from /vservers/web\n"), "{answer}");
    host.vserver(["config", "check"]).ok();
}
