//! Exit codes, and what is refused: scripts depend on both.

use tests::Host;

#[test]
fn wrong_use_is_exit_code_2() {
    let host = Host::without_root();
    for words in [
        &[] as &[&str],
        &["frobnicate"],
        &["start"],
        &["start", "web", "--frobnicate"],
        &["build", "web", "--method", "magic"],
        &["stop", "web", "--timeout", "soon"],
        &["exec", "web"],
        &["cp", "web:/etc/hosts"],
        &["cp", "web:/etc/hosts", "mail:/etc"],
        &["cp", "./web:/etc/hosts", "/tmp"],
        &["cp", "a b:/etc/hosts", "/tmp"],
    ] {
        let answer = host.vserver(words).code(2);
        assert!(answer.stdout.is_empty(), "errors go to stderr\n{answer}");
        assert!(!answer.stderr.is_empty(), "{answer}");
    }
}

#[test]
fn an_unknown_guest_is_exit_code_5() {
    let host = Host::without_root();
    for verb in ["start", "stop", "restart", "reboot", "status", "enter", "console", "logs"] {
        host.vserver([verb, "nobody"]).code(5).complains("there is no guest 'nobody'");
    }
    host.vserver(["delete", "nobody", "--yes"]).code(5);
    host.vserver(["config", "show", "nobody"]).code(5);
    host.vserver(["running", "nobody"]).code(5).complains("there is no guest 'nobody'");
    host.configure("down", "context = 100\n");
    host.vserver(["running", "down"]).code(1).says("");
    host.vserver(["down", "running"]).code(1).says("");
    host.vserver(["exec", "nobody", "--", "true"]).code(125);
}

/// What is done with all guests is done with those whose configuration is right.
#[test]
fn a_broken_configuration_keeps_no_other_guest_back() {
    let host = Host::without_root();
    host.configure("bad", "context = \n");
    host.configure("web", "context = 100\n[storage]\nkind = \"image\"\n");
    host.vserver(["usage"]).ok();
    host.vserver(["usage", "bad"]).code(1).complains("bad.toml:1");
    let stop = host.vserver(["stop", "--all", "--dry-run"]).code(1).complains("bad.toml:1");
    stop.says("would stop guest 'web' (stopped)\n");
    let start = host.vserver(["start", "--all", "--dry-run"]).code(1).complains("bad.toml:1");
    assert!(start.stdout.contains("would start guest 'web'"), "{start}");
    let unify = host.vserver(["unify", "--all"]).code(1).complains("bad.toml:1");
    unify.complains("guest 'web' is passed by");
    host.vserver(["unify", "web", "bad"]).code(1).complains("bad.toml:1");
    // One that doesn't run has nothing to be reloaded.
    let reload = host.vserver(["reload", "--all"]).code(1).complains("bad.toml:1");
    assert!(!reload.stderr.contains("not running"), "{reload}");
    host.vserver(["reload", "web"]).code(3).complains("not running");
    let list = host.vserver(["list"]).ok().complains("bad.toml:1");
    assert!(list.stdout.contains("web"), "{list}");
}

/// A record as the kernel writes it (acct(5), `struct acct_v3`).
fn record(command: &[u8]) -> [u8; 64] {
    const BEGAN: u32 = 1_795_731_767;
    let mut bytes = [0; 64];
    bytes[1] = 3;
    bytes[24..28].copy_from_slice(&BEGAN.to_ne_bytes());
    bytes[48..48 + command.len()].copy_from_slice(command);
    bytes
}

#[test]
fn commands_of_a_guest_that_cannot_be_told_keep_no_others_back() {
    let host = Host::without_root();
    host.configure("web", "context = 100\n");
    host.configure("db", "context = 101\n");
    host.configure("mail", "context = 102\n");
    let file = |name: &str| host.paths().process_records(&name.parse().expect("a name"));
    let directory = file("db").parent().expect("it has one").to_owned();
    std::fs::create_dir_all(directory).expect("a directory can be made");
    std::fs::write(file("db"), record(b"postgres")).expect("a file can be written");
    std::fs::create_dir(file("mail")).expect("a directory can be made");
    let usage = |names: &[&str]| {
        let words = ["usage", "--commands", "--since", "2026-11-01"];
        host.vserver(words.iter().chain(names))
    };
    let told = usage(&["web", "mail", "db"]).code(1).complains("guest 'web' were recorded");
    assert!(told.stderr.contains("mail.pacct"), "{told}");
    assert!(told.stdout.contains("postgres"), "{told}");
    let told = usage(&[]).code(1).complains("mail.pacct");
    assert!(told.stdout.contains("postgres"), "{told}");
    usage(&["web"]).code(1).says("").complains("guest 'web' were recorded");
    usage(&["nobody", "db"]).code(5).complains("there is no guest 'nobody'");
}

#[test]
fn what_a_guest_is_asked_wrongly_is_said_of_the_verb() {
    let host = Host::without_root();
    host.configure("tiny", "context = 100\n");
    for (words, said, hint) in [
        (&["tiny"] as &[&str], "guest 'tiny'", "vserver tiny status"),
        (&["tiny", "frobnicate"], "no verb 'frobnicate'", "vserver exec tiny -- frobnicate"),
        (&["tiny", "apt-get", "update"], "no verb 'apt-get'", "vserver exec tiny -- apt-get"),
        (&["destroy", "tiny"], "no verb 'destroy'", "vserver delete tiny"),
    ] {
        host.vserver(words).code(2).complains(said).complains(hint);
    }
}

#[test]
fn a_mark_that_nobody_has_is_warned_of() {
    let host = Host::without_root();
    host.configure("web", "context = 100\nmarks = [\"db\"]\n");
    for verb in ["list", "start", "stop"] {
        let words = [verb, "--mark", "dbs"];
        host.vserver(words).ok().complains("no guest has the mark 'dbs'");
    }
    let list = host.vserver(["list", "--mark", "db"]).ok();
    assert!(list.stderr.is_empty() && list.stdout.contains("web"), "{list}");
}

#[test]
fn list_tells_which_guests_start_with_the_host() {
    let host = Host::without_root();
    host.configure("web", "context = 100\nautostart = true\nmarks = [\"db\"]\n");
    host.configure("tiny", "context = 101\ndescription = \"x\"\n");
    host.vserver(["list", "--enabled", "--names"]).ok().says("web\n");
    let json = host.vserver(["list", "--json"]).ok();
    let all: serde_json::Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    let tiny = serde_json::json!({
        "name": "tiny", "context": 101, "state": "stopped", "uptime_seconds": null,
        "addresses": [], "marks": [], "autostart": false, "description": "x",
    });
    assert_eq!(all[0], tiny);
    assert_eq!((&all[1]["autostart"], &all[1]["marks"][0]), (&true.into(), &"db".into()));
    let status = host.vserver(["status", "web"]).code(3);
    assert!(status.stdout.contains("\nAutostart:            yes\nMarks:                db\n"));
}

#[test]
fn stop_of_all_is_silent_of_those_that_are_down() {
    let host = Host::without_root();
    host.configure("web", "context = 100\n");
    let all = host.vserver(["stop", "--all"]).ok();
    assert!(all.stderr.is_empty(), "{all}");
    host.vserver(["stop", "web"]).ok().complains("guest 'web' is not running");
}

#[test]
fn a_name_that_no_guest_has_leaves_no_lock() {
    let host = Host::without_root();
    for words in [&["start", "nobody"] as &[&str], &["delete", "nobody", "--yes"]] {
        host.vserver(words).code(5);
    }
    let left = std::fs::read_dir(host.paths().run_dir());
    let left: Vec<_> = left.into_iter().flatten().flatten().map(|it| it.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_device_that_the_host_lacks_is_warned_of() {
    let host = Host::without_root();
    host.configure("web", "context = 100\n");
    let added = host.vserver(["device", "add", "web", "/dev/no-such"]).ok();
    added.complains("can't be started with it").complains("/dev/no-such");
    let added = host.vserver(["device", "add", "web", "/dev/tty10"]).ok();
    assert!(added.stderr.is_empty() || !std::path::Path::new("/dev/tty10").exists(), "{added}");
}

#[test]
fn metrics_follow_no_link() {
    let host = Host::without_root();
    let path = |name: &str| host.prefix().join(name);
    std::fs::write(path("victim"), "theirs").expect("a file can be written");
    std::os::unix::fs::symlink("victim", path("out.prom")).expect("a link can be made");
    let output = path("out.prom").to_string_lossy().into_owned();
    host.vserver(["metrics", "--output", &output]).code(1).complains("is a symbolic link");
    assert_eq!(std::fs::read_to_string(path("victim")).expect("still there"), "theirs");
    std::fs::remove_file(&output).expect("it can be removed");
    host.vserver(["metrics", "--output", &output]).ok();
}

#[test]
fn both_word_orders_are_understood() {
    let host = Host::without_root();
    let ours = host.vserver(["status", "nobody"]);
    let theirs = host.vserver(["nobody", "status"]);
    assert_eq!((ours.code, ours.stderr), (theirs.code, theirs.stderr));
}

#[test]
fn names_that_are_verbs_or_paths_are_refused() {
    let host = Host::without_root();
    let long = "x".repeat(49);
    for name in ["start", "status", "-web", ".web", "../web", "a/b", "a b", "", &long] {
        let answer = host.vserver(["build", name, "--method", "skeleton"]);
        assert_eq!(answer.code, 2, "{name:?} was to be refused\n{answer}");
        assert!(!host.paths().roots_dir().exists(), "{name:?}: nothing is made");
    }
}

#[test]
fn errors_are_one_sentence_with_the_programs_name() {
    let host = Host::without_root();
    let answer = host.vserver(["status", "nobody"]).code(5);
    let first = answer.stderr.lines().next().unwrap_or_default();
    assert_eq!(first, "vserver: there is no guest 'nobody'", "{answer}");
    let rest: Vec<_> = answer.stderr.lines().skip(1).collect();
    assert!(rest.len() <= 1 && rest.iter().all(|line| line.starts_with("hint: ")), "{answer}");
}

#[test]
fn top_without_a_terminal_says_what_to_use_instead() {
    let host = Host::without_root();
    let answer = host.vserver(["top"]).code(2).says("");
    assert!(answer.stderr.starts_with("vserver: 'vserver top' fills the screen"), "{answer}");
    assert!(answer.stderr.contains("\nhint: 'vserver stat' "), "{answer}");
    host.vserver(["top", "--interval", "0"]).code(2).complains("0.1");
}

#[test]
fn an_empty_installation_lists_nothing() {
    let host = Host::without_root();
    host.vserver(["list"]).ok();
    host.vserver(["list", "--json"]).ok().says("[]\n");
}

#[test]
fn what_a_build_is_given_is_judged_before_anything_is_made() {
    let host = Host::without_root();
    let directory = host.prefix().to_owned();
    let file = |name: &str, text: &str| {
        std::fs::write(directory.join(name), text).expect("a file can be written");
        directory.join(name).to_string_lossy().into_owned()
    };
    let script = file("script", "#!/bin/sh\n");
    let plain = file("plain", "echo hello\n");
    let key = file("key", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let empty = file("empty", "\n");
    for (words, said) in [
        (["--run-script", &plain], "is no script"),
        (["--run-script", &script], "an empty guest has no programs"),
        (["--packages", "vim"], "an empty guest has no programs"),
        (["--packages", "vim less"], "is not a package"),
        (["--ssh-key", &key], "a private key"),
        (["--ssh-key", &plain], "no public ssh key"),
        (["--root-password-file", &empty], "root's password is empty"),
        (["--address", "127.0.0.1"], "loopback"),
    ] {
        let build = ["build", "web", "--method", "skeleton"].into_iter().chain(words);
        host.vserver(build).code(2).complains(said);
        assert!(!host.paths().roots_dir().exists(), "{words:?}: something is made");
    }
}

#[test]
fn methods_say_what_they_lack() {
    let host = Host::without_root();
    for (words, said) in [
        (["--method", "directory"], "--from"),
        (["--method", "rsync"], "--from"),
        (["--method", "template"], "--from"),
    ] {
        host.vserver(["build", "web"].into_iter().chain(words)).code(2).complains(said);
    }
}

#[test]
fn mistakes_in_the_options_of_all_builds_name_their_file() {
    let host = Host::without_root();
    let file = host.paths().build_options();
    std::fs::create_dir_all(host.paths().config_dir()).expect("a directory can be made");
    for (text, said) in [
        ("# ours\nweb\n", "line 2 of"),
        ("--frobnicate\n", "line 1 of"),
        ("\n--method magic\n", "line 2 of"),
        ("--force\n--suite\n", "'--suite' needs a value"),
        ("--root-password a\n--root-password-file b\n", "options in"),
    ] {
        std::fs::write(&file, text).expect("a file can be written");
        let answer = host.vserver(["build", "web"]).code(2).complains(said);
        answer.complains("etc/vservers/build.options");
        host.vserver(["status", "web"]).code(5);
        assert!(!host.paths().roots_dir().exists(), "{text:?}: something is made");
    }
}

#[test]
fn an_option_that_means_nothing_to_the_method_is_refused() {
    let host = Host::without_root();
    for (words, option, remedy) in [
        (["", "--suite", "trixie"], "--suite", "debootstrap, dnf, apk"),
        (["", "--mirror", "http://m"], "--mirror", "debootstrap, dnf, apk"),
        (["", "--keyring", "/k"], "--keyring", "debootstrap, dnf, apk"),
        (["", "--variant", "buildd"], "--variant", "debootstrap"),
        (["", "--from", "/etc"], "--from", "rpm, template, directory"),
        (["--method=skeleton", "--components", "a"], "--components", "debootstrap, apk"),
        (["--method=pacstrap", "--suite", "x"], "--suite", "debootstrap, dnf, apk"),
        (["--method=rpm", "--packages", "x"], "--packages", "copy, debootstrap"),
        (["--method=skeleton", "--shift", "0"], "--shift", "template, directory"),
    ] {
        let words = words.into_iter().filter(|word| !word.is_empty());
        let from = words.clone().any(|word| word == "--method=rpm").then_some("--from=/x");
        let line = ["build", "web", "--dry-run"].into_iter().chain(words).chain(from);
        let refused = host.vserver(line).code(2).complains(&format!("takes no '{option}'"));
        refused.complains(&format!("it goes with --method {remedy}"));
    }
    assert!(!host.paths().roots_dir().exists(), "something is made");
}

#[test]
fn a_root_that_no_configuration_can_name_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let host = Host::without_root();
    let root = std::ffi::OsStr::from_bytes(b"/srv/w\xe9b");
    for words in [["build", "web"].as_slice(), &["clone", "a", "web"], &["import", "f"]] {
        let mut command = host.command(words);
        let answer = tests::command::run(command.arg("--root").arg(root), tests::DEADLINE);
        answer.code(2).complains("no UTF-8");
    }
}
