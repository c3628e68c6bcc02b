//! Configuration files: what is wrong is said with file, line and remedy,
//! and what isn't touched stays as it was written.

use std::fs;

use tests::Host;

/// What `config check` says of this text, with the file's path taken out.
fn findings(text: &str) -> String {
    let host = Host::without_root();
    let path = host.configure("web", text);
    let answer = host.vserver(["config", "check", "web"]).code(1);
    assert_eq!(answer.stdout, "", "{answer}");
    answer.stderr.replace(&path.display().to_string(), "web.toml")
}

#[test]
fn an_unknown_key_is_shown_with_its_place_and_the_nearest_valid_one() {
    let expected = "web.toml:4:1: there is no key 'stop_timeuot' in [boot]
  4 | stop_timeuot = \"5s\"
    | ^^^^^^^^^^^^ did you mean 'stop_timeout'?
";
    assert_eq!(findings("context = 40000\n\n[boot]\nstop_timeuot = \"5s\"\n"), expected);
}

#[test]
fn a_wrong_value_is_shown_with_its_place() {
    let expected = "web.toml:3:9: 'security.users' is one of private, identity, host, not 'publik'
  3 | users = \"publik\"
    |         ^^^^^^^^
";
    assert_eq!(findings("context = 40000\n[security]\nusers = \"publik\"\n"), expected);
}

#[test]
fn text_that_is_no_toml_is_shown_with_its_place() {
    let found = findings("context = 40000\nhostname = \"web\n");
    assert!(found.starts_with("web.toml:2:"), "{found}");
    assert!(found.contains("  2 | hostname = \"web\n"), "{found}");
}

#[test]
fn a_guest_with_a_wrong_configuration_isnt_started() {
    let host = Host::without_root();
    host.configure("web", "contxt = 40000\n");
    host.vserver(["start", "web"]).code(1).complains("'contxt'");
}

#[test]
fn every_mistake_is_shown_at_once() {
    let found = findings("contxt = 40000\n[boot]\nstop_timeout = \"soon\"\nstyle = \"upstart\"\n");
    for mistake in ["'contxt'", "'boot.stop_timeout'", "'boot.style'"] {
        assert!(found.contains(mistake), "{mistake} is missing:\n{found}");
    }
}

#[test]
fn set_keeps_comments_and_order() {
    let host = Host::without_root();
    let text = "# our web server\ncontext = 40000 # don't change\n\n[boot]\nstyle = \"auto\"\n";
    let path = host.configure("web", text);
    host.vserver(["config", "set", "web", "boot.stop_timeout", "90s"]).ok();
    let now = fs::read_to_string(&path).expect("it is there");
    for line in text.lines() {
        assert!(now.lines().any(|other| other == line), "{line:?} is gone:\n{now}");
    }
    assert!(now.contains("stop_timeout = \"90s\""), "{now}");
    host.vserver(["config", "check", "web"]).ok();
}

#[test]
fn set_refuses_what_check_would_refuse() {
    let host = Host::without_root();
    let path = host.configure("web", "context = 40000\n");
    host.vserver(["config", "set", "web", "boot.stop_timeout", "soon"]).code(2);
    host.vserver(["config", "set", "web", "boot.colour", "red"]).code(2);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "context = 40000\n");
}

#[test]
fn keys_that_need_each_other_are_set_at_once() {
    let host = Host::without_root();
    let path = host.configure("web", "context = 40000\n[network]\nmode = \"none\"\n");
    let (mode, address) = ("network.mode=shared", "network.addresses=192.0.2.1");
    let other = "network.addresses=192.0.2.2";
    for words in [vec!["network.mode", "shared"], vec![mode], vec![address]] {
        host.vserver([&["config", "set", "web"], words.as_slice()].concat()).code(1);
    }
    host.vserver(["config", "set", "web", mode, "x"]).code(2).complains("no KEY=VALUE");
    host.vserver(["config", "set", "web", "network.mode"]).code(2).complains("to what");
    host.vserver(["config", "set", "web", mode, address, other]).ok();
    let now = fs::read_to_string(&path).expect("it is there");
    assert!(now.contains("mode = \"shared\""), "{now}");
    assert!(now.contains("addresses = [\"192.0.2.1\", \"192.0.2.2\"]"), "{now}");
}

#[test]
fn check_shows_guests_that_wait_for_each_other() {
    let host = Host::without_root();
    host.configure("web", "context = 40000\nafter = [\"db\"]\n");
    host.configure("db", "context = 40001\nafter = [\"mail\"]\n");
    host.vserver(["config", "check"]).ok();
    host.configure("mail", "context = 40002\nafter = [\"gone\", \"web\"]\n");
    let check = host.vserver(["config", "check"]).code(1);
    for text in ["web after db after mail after web", "mail.toml:2:", "db.toml:2:"] {
        assert!(check.stderr.contains(text), "{text} is missing\n{check}");
    }
}

#[test]
fn the_effective_configuration_has_every_default() {
    let host = Host::without_root();
    host.configure("web", "context = 40000\n");
    let shown = host.vserver(["config", "show", "web", "--effective"]).ok();
    for key in ["context", "stop_timeout", "kill_grace", "restart", "users", "log_size"] {
        assert!(shown.stdout.contains(key), "{key} is missing\n{shown}");
    }
}

#[test]
fn the_effective_configuration_has_every_refusal_with_its_reason() {
    let host = Host::without_root();
    host.configure("web", "context = 40000\n");
    let shown = host.vserver(["config", "show", "web", "--effective"]).ok();
    for text in ["io_uring_setup", "lifted by security.io_uring", "/proc/kcore", "CAP_SYS_CHROOT"] {
        assert!(shown.stdout.contains(text), "{text} is missing\n{shown}");
    }
    let json = host.vserver(["config", "show", "web", "--effective", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("this is JSON");
    let calls = json["isolation"]["system_calls"].as_array().expect("a list");
    assert!(calls.iter().all(|refused| refused["reason"].as_str().is_some_and(|r| !r.is_empty())));
    host.configure("box", "context = 40001\nsecurity.nesting = true\n");
    let nesting = host.vserver(["config", "show", "box", "--effective"]).ok();
    assert!(!nesting.stdout.contains("pivot_root") && !nesting.stdout.contains("/proc/kcore"));
}
