//! Guests in the journal of a host with systemd: their consoles, and what
//! happens to them. The judge is journalctl.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::{DEADLINE, Finished, Guest, Host, Tree, command, eventually};
use vserver::journal::Kind;
use vserver::variables;

use crate::turn;
use crate::units::{Machine, vserver};

/// Has systemd run a guest's supervisor, and waits until the guest is up.
fn start(host: &Host, guest: &Guest<'_>) -> String {
    let unit = format!("supervise-{}.service", guest.name());
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--collect", "--unit", &unit]);
    run.args(["--property=Type=exec", "--property=Delegate=yes", "--property=KillMode=process"]);
    run.args(["--property=Restart=on-failure", "--property=RestartSec=100ms"]);
    run.arg(format!("--setenv={}={}", variables::PREFIX, host.prefix().display()));
    run.arg(tests::host::program()).args(["supervise", guest.name()]);
    command::run(&mut run, DEADLINE).ok();
    guest.vserver("wait", ["--for", "running"]).ok();
    unit
}

fn journalctl(words: &[&str]) -> Finished {
    let mut journalctl = Command::new("journalctl");
    command::run(journalctl.args(["--quiet", "--no-pager"]).args(words), DEADLINE)
}

/// The messages about a guest with a kind's id.
fn told(guest: &Guest<'_>, kind: Kind) -> Vec<Value> {
    let id = format!("MESSAGE_ID={}", kind.entry().id);
    let name = format!("VSERVER_NAME={}", guest.name());
    let lines = journalctl(&["--output=json", &id, &name]);
    lines.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[track_caller]
fn soon(guest: &Guest<'_>, kind: Kind) -> Value {
    eventually(DEADLINE, &format!("the journal tells of {kind:?}"), || told(guest, kind).pop())
}

/// The guest's console as `vserver logs` has it, once it has this line.
#[track_caller]
fn logs(guest: &Guest<'_>, words: &[&str], awaited: &str) -> String {
    eventually(DEADLINE, &format!("{awaited:?} is in the log"), || {
        let text = guest.vserver("logs", words).ok().stdout;
        text.lines().any(|line| line == awaited).then_some(text)
    })
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn what_happens_to_a_guest_is_in_the_journal() {
    let host = Host::new();
    let guest = host.guest("told").build();
    let inittab = guest.read("/etc/inittab");
    let bad = "::sysinit:/bin/sh -c 'exit 3' \u{1b}[31mred\n";
    guest.write("/etc/inittab", &(bad.to_owned() + &inittab), 0o644);
    start(&host, &guest);
    let status = guest.status();
    let up = soon(&guest, Kind::Up);
    assert_eq!(up["VSERVER_CONTEXT"], status.context.to_string(), "{up}");
    assert_eq!(up["VSERVER_PHASE"], "running", "{up}");
    assert_eq!(up["VSERVER_BOOT"], "1", "{up}");
    assert_eq!(up["PRIORITY"], "6", "{up}");
    assert_eq!(up["SYSLOG_IDENTIFIER"], "vserver-told", "{up}");
    let launched = soon(&guest, Kind::Launched);
    let init = status.init_pid.expect("it runs");
    assert_eq!(launched["VSERVER_INIT_PID"], init.to_string(), "{launched}");

    // A guest's words come in as text, and as nothing else.
    let failed = soon(&guest, Kind::ScriptFailed);
    assert_eq!(failed["PRIORITY"], "4", "{failed}");
    assert_eq!(failed["VSERVER_OUTCOME"], "exit status 3", "{failed}");
    let script = failed["VSERVER_SCRIPT"].as_str().expect("text, not bytes");
    assert!(script.contains("exit 3") && script.contains("\\u{1b}[31mred"), "{script}");

    // The next supervisor is systemd's doing.
    let supervisor = status.supervisor_pid.expect("there is one");
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it can be killed");
    let adopted = soon(&guest, Kind::Adopted);
    assert_ne!(adopted["_PID"], supervisor.to_string(), "{adopted}");

    kill(Pid::from_raw(init), Signal::SIGKILL).expect("PID 1 can be killed");
    let crashed = soon(&guest, Kind::Crashed);
    assert_eq!(crashed["PRIORITY"], "3", "{crashed}");
    assert_eq!(crashed["VSERVER_OUTCOME"], "died: signal 9", "{crashed}");
    guest.vserver("wait", ["--for", "running"]).ok();
    eventually(DEADLINE, "the journal tells of both boots, once each", || {
        (told(&guest, Kind::Up).len() == 2).then_some(())
    });
    guest.stop();
    soon(&guest, Kind::Stopped);
    let shown = guest.vserver("logs", ["--events"]).ok();
    assert!(shown.stdout.contains("the guest is down"), "{shown}");

    // The catalog explains it.
    let turn = turn::bare();
    host.vserver(["install", "--prefix", "/usr/local"]).ok();
    let id = format!("MESSAGE_ID={}", Kind::Crashed.entry().id);
    let explained = journalctl(&["--catalog", &id, "VSERVER_NAME=told"]);
    host.vserver(["install", "--prefix", "/usr/local", "--remove"]).ok();
    assert!(explained.stdout.contains("Guest told has crashed"), "{explained}");
    assert!(explained.stdout.contains("died: signal 9"), "{explained}");
    let list = journalctl(&["--list-catalog"]);
    assert!(!list.stdout.contains(Kind::Crashed.entry().id), "removed with the rest");
    drop(turn);
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn consoles_are_in_the_journal() {
    let host = Host::new();
    let guest = host.guest("loud").build();
    let other = host.guest("quiet").set("console.log", "both").build();
    start(&host, &guest);
    start(&host, &other);
    let all = logs(&guest, &[], "rcS: boot scripts run");
    assert!(!host.paths().log(&"loud".parse().unwrap()).exists(), "it isn't written twice");

    // Lines are lines, whatever is in them.
    guest.shell("printf 'MESSAGE=x\\nPRIORITY=0\\n<0>\\033[31mred\\r\\n' > /dev/console").ok();
    let more = logs(&guest, &[], "<0>\\x1b[31mred");
    assert!(more.starts_with(&all) && more.ends_with("MESSAGE=x\nPRIORITY=0\n<0>\\x1b[31mred\n"));
    let last = journalctl(&["-n1", "--output=json", "SYSLOG_IDENTIFIER=vserver-loud/console"]);
    let last: Value = serde_json::from_str(&last.stdout).expect("one message");
    assert_eq!(last["PRIORITY"], "6", "{last}");
    assert_eq!(last["_COMM"], "vserver-keeper", "{last}");

    // Empty ones, too: line by line it is what a file has, but for blanks at their ends.
    other.shell("printf 'one \\n\\n\\n two\\n\\nend of these\\n' > /dev/console").ok();
    let last = logs(&other, &["-n", "3"], "end of these");
    assert_eq!(last, " two\n\nend of these\n");
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    };
    let shown = lines(&logs(&other, &[], "end of these"));
    let file = host.paths().log(&"quiet".parse().unwrap());
    eventually(DEADLINE, "the file has the same", || {
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        let kept = lines(&kept.replace('\u{1b}', "\\x1b"));
        (kept.last()? == "end of these").then(|| assert_eq!(kept, shown))
    });

    // Streams outlive a restart of journald.
    eventually(DEADLINE, "journald is restarted", || {
        // systemd may be busy with itself, by another test.
        let mut restart = Command::new("systemctl");
        let restart = restart.args(["restart", "systemd-journald"]);
        (command::run(restart, DEADLINE).code == 0).then_some(())
    });
    guest.shell("echo after the restart > /dev/console").ok();
    logs(&guest, &["-n", "1"], "after the restart");

    // One that floods keeps nobody from being heard, and waits for nobody.
    guest.shell("yes 'much of the same' | head -n 30000 > /dev/console").ok();
    other.shell("echo heard all the same > /dev/console").ok();
    logs(&other, &["-n", "1"], "heard all the same");
    let text = journalctl(&["--output=cat", "SYSLOG_IDENTIFIER=vserver-quiet/console"]).stdout;
    assert!(text.ends_with("heard all the same\n"), "in the journal as in the file: {text}");

    // Boots are told apart.
    let old = guest.init_pid();
    guest.exec(["reboot"]);
    guest.wait_for_reboot(old);
    let now = logs(&guest, &["-b"], "rcS: boot scripts run");
    assert!(!now.contains("MESSAGE=x") && now.lines().count() < 100, "{now}");
    assert!(logs(&guest, &["-b", "1", "-n", "100000"], "MESSAGE=x").contains("much of the same"));

    // Followed from here on, over the end of the guest.
    let mut follow = guest.command("logs", ["-f", "-b"]);
    let file = host.prefix().join("followed");
    let stdout = std::fs::File::create(&file).expect("a file");
    let mut follow = follow.stdout(stdout).spawn().expect("vserver runs");
    guest.shell("echo 'now follow' > /dev/console").ok();
    guest.stop();
    eventually(Duration::from_secs(60), "what followed is shown", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        (text.contains("now follow\n") && text.contains("rcK: shutdown scripts run")).then_some(())
    });
    let _ = follow.kill();
    let _ = follow.wait();
    other.stop();
}

/// Its names may be another guest's, before it and after it.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guests_console_is_its_own_whatever_its_name() {
    let host = Host::new();
    let says = |guest: &Guest<'_>, words: &str| {
        start(&host, guest);
        guest.shell(&format!("echo {words} > /dev/console")).ok();
        logs(guest, &[], words);
        guest.stop();
    };
    says(&host.guest("namesake").build(), "of the first");
    host.vserver(["delete", "namesake", "--yes"]).ok();
    let second = host.guest("namesake").build();
    says(&second, "of the second");
    let text = logs(&second, &[], "of the second");
    assert!(!text.contains("of the first"), "{text}");

    host.vserver(["rename", "namesake", "renamed"]).ok();
    let renamed = second.other("renamed");
    let text = logs(&renamed, &[], "of the second");
    assert!(!text.contains("of the first"), "{text}");
    says(&host.guest("namesake").build(), "of the third");
    says(&renamed, "of the renamed");
    let text = logs(&renamed, &[], "of the renamed");
    assert!(text.starts_with(&logs(&renamed, &["-b", "1"], "of the second")), "{text}");
    for other in ["of the first", "of the third"] {
        assert!(!text.contains(other), "{text}");
    }
}

/// While it runs by its name or by its root directory, later by that alone.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guests_own_journal_is_read_from_the_host() {
    const ROOT: &str = "--root=/var/lib/vservers/books";
    const WORDS: [&str; 2] = ["--output=cat", "--identifier=word"];
    let machine = Machine::new();
    let books = machine.guest("books", Tree::Systemd);
    vserver(&["start", books.name()]).ok();
    let write = "echo a word of its own | systemd-cat -t word && journalctl --sync";
    eventually(DEADLINE, "its journald takes a word", || {
        let written = vserver(&["exec", books.name(), "--", "sh", "-c", write]);
        (written.code == 0).then_some(())
    });
    let by_root = || journalctl(&[&[ROOT], WORDS.as_slice()].concat());
    let by_name = || journalctl(&[&["--machine", books.name()], WORDS.as_slice()].concat());
    by_root().ok().says("a word of its own\n");
    by_name().ok().says("a word of its own\n");
    // The host's own doesn't have it.
    journalctl(&WORDS).says("");

    vserver(&["stop", books.name()]).ok();
    by_root().ok().says("a word of its own\n");
    assert_ne!(by_name().code, 0);
    // From its first line to its last.
    let all = journalctl(&[ROOT, "--output=cat", "--boot"]).ok();
    for line in ["Reached target ", "Journal stopped"] {
        assert!(all.stdout.contains(line), "{line:?}: {all}");
    }
}
