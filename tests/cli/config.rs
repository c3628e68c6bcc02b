//! Configuration files: what is wrong is said with file, line and remedy,
//! and what isn't touched stays as it was written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use tests::terminal::Terminal;
use tests::{Host, host};

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

/// A bridge's guest becomes one without a network, to which another can be given.
#[test]
fn keys_that_need_each_other_are_removed_at_once() {
    let host = Host::without_root();
    let bridged = "context = 40000\n[network]\nmode = \"bridge\"\nbridge = \"br0\"\n\
                   addresses = [\"192.0.2.10/24\"]\ngateway = [\"192.0.2.1\"]\n";
    let path = host.configure("web", bridged);
    let text = || fs::read_to_string(&path).expect("a file");
    for key in ["network.mode", "network.addresses"] {
        host.vserver(["config", "unset", "web", key, "network.colour"]).code(2);
    }
    host.vserver(["config", "unset", "web", "network.bridge"]).code(1).complains("network.bridge");
    assert_eq!(text(), bridged);
    let all = ["network.mode", "network.bridge", "network.gateway", "network.addresses"];
    let dry_run = [&["config", "unset", "--dry-run", "web"], &all[..]].concat();
    assert!(!host.vserver(dry_run).ok().stdout.contains("\nbridge = "));
    assert_eq!(text(), bridged);
    host.vserver([&["config", "unset", "web"], &all[..]].concat()).ok();
    host.vserver(["config", "check", "web"]).ok();
    let left = text();
    let is_set = |key: &str| left.lines().any(|line| line.starts_with(&format!("{key} = ")));
    let set = ["mode", "bridge", "gateway", "addresses"].map(is_set);
    assert_eq!(set, [false; 4], "{left}");
    host.vserver(["config", "set", "web", "network.addresses", "192.0.2.10"]).ok();
    host.vserver(["config", "unset", "web"]).code(2);
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

#[test]
fn changes_at_the_same_time_are_all_made() {
    let host = Host::without_root();
    host.configure("web", "context = 40000\n");
    let set = |key: &str, values: [&str; 20]| {
        for value in values {
            host.vserver(["config", "set", "web", key, value]).ok();
        }
    };
    let words: [String; 20] = std::array::from_fn(|number| format!("m{number}"));
    let words = words.each_ref().map(String::as_str);
    thread::scope(|scope| {
        for key in ["description", "hostname", "boot.runlevel", "limits.memory"] {
            scope.spawn(move || match key {
                "boot.runlevel" => set(key, ["3"; 20]),
                "limits.memory" => set(key, ["1G"; 20]),
                key => set(key, words),
            });
        }
    });
    let text = host.vserver(["config", "show", "web"]).ok().stdout;
    for line in [
        "description = \"m19\"",
        "hostname = \"m19\"",
        "runlevel = \"3\"",
        "memory = \"1G\"",
        "context = 40000",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}

#[test]
fn an_editor_overwrites_nobodys_change() {
    let host = Host::without_root();
    let file = host.configure("web", "context = 40000\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it has a mode");
    let edit = |editor: &str| {
        let mut edit = host.command(["config", "edit", "web"]);
        edit.env_remove("VISUAL").env("EDITOR", format!("sh -c '{editor}' sh"));
        Terminal::open(&edit)
    };
    let program = host::program().display().to_string();
    // Somebody else is quicker.
    let mut terminal = edit(&format!(
        "echo \"# edited\" >>\"$1\"; \"{program}\" config set web description other"
    ));
    terminal.expect("was changed while it was edited");
    terminal.expect("what was edited is in '");
    assert_eq!(terminal.end(), 1);
    let text = fs::read_to_string(&file).expect("it is there");
    assert!(text.contains("description = \"other\"") && !text.contains("edited"), "{text}");
    let kept = others(&file);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let copy = fs::read_to_string(&kept[0]).expect("it is there");
    assert!(copy.contains("# edited\n") && !copy.contains("other"), "{copy}");
    let mode = fs::metadata(&kept[0]).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_file(&kept[0]).expect("it can be removed");

    // A key that interrupts is the editor's.
    let mut terminal =
        edit("trap : INT; echo re\"\"ady; sleep 1; sleep 1; echo \"# more\" >>\"$1\"");
    terminal.expect("ready");
    terminal.type_in("\x03");
    assert_eq!(terminal.end(), 0);
    let text = fs::read_to_string(&file).expect("it is there");
    assert!(text.ends_with("# more\n"), "{text}");
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(others(&file), Vec::<PathBuf>::new());
}

/// What else lies beside it.
fn others(file: &Path) -> Vec<PathBuf> {
    let directory = file.parent().expect("it is in a directory");
    let entries = fs::read_dir(directory).expect("it can be read");
    entries.flatten().map(|entry| entry.path()).filter(|path| path != file).collect()
}

/// What isn't a file may never end, or not even begin.
#[test]
fn a_configuration_that_is_no_file_holds_nobody_up() {
    let host = Host::without_root();
    let path = host.configure("web", "context = 40000\n");
    host.configure("mail", "context = 40001\n");
    host.vserver(["list"]).ok();
    fs::remove_file(&path).expect("it is there");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("it can be made");
    let is_told = |answer: tests::Finished| {
        answer.complains(&format!("cannot read '{}': not a regular file", path.display()))
    };
    let listed = is_told(host.vserver(["list"]));
    assert!(listed.stdout.contains("mail"), "{listed}");
    for verb in ["start", "status", "stop"] {
        is_told(host.vserver([verb, "web"]).code(1));
    }
    is_told(host.vserver(["config", "check", "web"]).code(1));
    is_told(host.vserver(["config", "set", "web", "autostart", "true"]).code(1));
    let units = host.prefix().join("units");
    fs::create_dir(&units).expect("it can be made");
    let mut generate = host.command(["generate"]);
    generate.args([&units, &units, &units]);
    tests::command::run(&mut generate, tests::DEADLINE).ok();
    let options = path.with_file_name("build.options");
    nix::unistd::mkfifo(&options, nix::sys::stat::Mode::S_IRUSR).expect("it can be made");
    host.vserver(["build", "shop", "--dry-run"]).code(1).complains("not a regular file");
    fs::remove_file(&path).expect("it is there");
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    is_told(host.vserver(["list"]));
}

#[test]
fn a_file_that_isnt_utf8_holds_up_nobody_else_and_is_shown_with_its_place() {
    let host = Host::without_root();
    let path = host.configure("web", "");
    fs::write(&path, b"context = 40000\ndescription = \"M\xfcller\"\n").expect("it is there");
    host.configure("mail", "context = 40001\nbroken = 1\n");
    host.configure("db", "context = 40002\n");
    let place = format!("{}:2:17: the byte 0xfc is no UTF-8\n", path.display());
    for words in [&["config", "check", "web"][..], &["status", "web"], &["start", "web"]] {
        host.vserver(words).code(1).complains(&place);
    }
    let all = host.vserver(["config", "check"]).code(1).complains(&place);
    all.complains("'broken'");
    host.vserver(["config", "set", "db", "description", "x"]).ok();
    // Its number stays its own.
    host.vserver(["config", "set", "db", "context", "40000"]).code(1).complains("guest 'web'");
}

#[test]
fn a_guest_keeps_its_context_and_says_as_what_its_files_lie() {
    let host = Host::without_root();
    let path = host.configure("web", "context = 40000\n");
    let root = host.paths().root(&"web".parse().expect("a name"));
    fs::create_dir_all(&root).expect("it can be made");
    host.vserver(["config", "unset", "web", "context"]).code(1).complains("its own is 40000");
    host.vserver(["config", "unset", "web", "context", "--dry-run"]).code(1);
    let set = ["config", "set", "web", "storage.kind", "image"];
    host.vserver(set).code(1).complains("is a directory");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "context = 40000\n");
    fs::remove_dir(&root).expect("it is empty");
    host.vserver(set).ok();
    let shown = host.vserver(["config", "show", "web", "--effective"]).ok();
    assert!(shown.stdout.contains("mode = "), "{shown}");
}

#[test]
fn mistakes_that_were_there_are_shown_where_they_stand_and_can_be_taken_out() {
    let host = Host::without_root();
    let text = "# first\ncontext = 40000\nfoo = 1\n";
    let path = host.configure("web", text);
    let set = ["config", "set", "web", "boot.environment.A", "1"];
    let refused = host.vserver(set).code(1).complains("web.toml:3:1: there is no key 'foo'");
    refused.complains("vserver config edit web");
    host.vserver(["config", "set", "web", "boot.environment", "A=1"])
        .code(2)
        .complains("such as 'boot.environment.NAME'");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
    host.vserver(["config", "unset", "web", "foo"]).ok();
    host.vserver(set).ok();
}

#[test]
fn a_mistake_of_all_guests_is_told_once_and_keeps_none_from_being_down() {
    let host = Host::without_root();
    for name in ["web", "db"] {
        host.configure(name, "context = 40000\n");
    }
    fs::write(host.paths().defaults(), "colour = 1\n").expect("it can be written");
    let listed = host.vserver(["list"]).ok();
    assert_eq!(listed.stderr.matches("'colour'").count(), 1, "{listed}");
    host.vserver(["stop", "web"]).ok().complains("guest 'web' is not running");
    fs::remove_file(host.paths().defaults()).expect("it is there");
    fs::write(host.paths().config_dir().join("bad name.toml"), "").expect("it can be written");
    host.vserver(["list"]).ok().complains("bad name.toml");
    host.vserver(["config", "check"]).code(1).complains("bad name.toml");
}

#[test]
fn one_broken_file_keeps_back_no_other_guest_of_several() {
    let host = Host::without_root();
    let on = "autostart = true\nmarks = [\"m\"]\n";
    host.configure("a", &format!("context = 40000\n{on}broken = 1\n"));
    let b = host.configure("b", &format!("context = 40001\n{on}"));
    let c = host.configure("c", "context = 40002\nautostart = true\nbroken = 1\n");
    let is_on =
        |path: &Path| fs::read_to_string(path).expect("it is there").contains("\nautostart = true");
    host.vserver(["disable", "a", "b"]).code(1).complains("'broken'");
    assert!(!is_on(&b));
    host.vserver(["enable", "--mark", "m"]).code(1).complains("a.toml");
    assert!(is_on(&b) && is_on(&c));
    // Nobody runs, and none is left out.
    let stopped = host.vserver(["stop", "--mark", "m"]).ok();
    assert_eq!(stopped.stderr, "");
}

#[test]
fn guests_that_are_after_others_which_arent_there_are_remarked() {
    let host = Host::without_root();
    host.configure("web", "context = 40000\nafter = [\"dbb\"]\n");
    host.vserver(["config", "check"]).ok().complains("'after' 'dbb'");
    host.configure("web", "context = 40000\nafter = [\"web\"]\n");
    host.vserver(["config", "check"]).code(1).complains("web after web");
}

#[test]
fn a_root_is_one_guests_and_nothing_of_the_hosts() {
    let host = Host::without_root();
    host.configure("web", "context = 40001\n");
    let path = host.configure("shop", "context = 40002\n");
    let root = host.paths().root(&"web".parse().expect("a name")).display().to_string();
    for (root, said) in [
        (root.as_str(), "is the root of guest 'web'"),
        (&format!("{root}/srv"), "lies in"),
        (&host.paths().roots_dir().display().to_string(), "holds vserver's own"),
        ("/etc", "a directory of the host's own"),
        ("/usr/share", "a directory of the host's own"),
        ("/proc/self/root", "a directory of the host's own"),
    ] {
        host.vserver(["config", "set", "shop", "root", root]).code(1).complains(said);
    }
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "context = 40002\n");
    host.vserver(["config", "check"]).ok();
    host.configure("shop", &format!("context = 40002\nroot = \"{root}\"\n"));
    // Only where it is wrong, and the other one is changed as ever.
    host.vserver(["config", "check", "shop"]).code(1).complains("the root of guest 'web'");
    host.vserver(["config", "check", "web"]).ok();
    host.vserver(["config", "set", "web", "hostname", "www"]).ok();
    host.vserver(["config", "check"]).code(1).complains("shop.toml:2:8");
    let elsewhere = host.prefix().join("elsewhere").display().to_string();
    host.vserver(["config", "set", "shop", "root", &elsewhere]).ok();
    host.vserver(["config", "check"]).ok();
}
