//! Disks without room: what can't be done changes nothing and says why, what
//! runs goes on, and when there is room again nothing is missing.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::terminal::Terminal;
use tests::{Census, DEADLINE, Guest, Host, Small, Tree, eventually};

on! { Busybox: [
    an_account_without_room_is_written_later,
    a_log_without_room_goes_on_later,
    a_log_that_cannot_be_rotated_does_not_grow,
    a_state_without_room_is_noted_later,
    a_configuration_without_room_stays_as_it_was,
    a_guest_without_room_is_not_built,
] }

const NO_ROOM: &str = "No space left on device";

/// Names in a directory but for what fills it, and a lock, which stays.
fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name != "fill" && name != ".ids.lock").collect();
    names.sort();
    names
}

fn used(host: &Host, field: &str) -> f64 {
    let answer = host.vserver(["usage", "web", "--json"]).ok();
    assert_eq!(answer.stderr, "", "nothing is missing");
    let all: Vec<Value> = serde_json::from_str(&answer.stdout).expect("it is JSON");
    all[0][field].as_f64().unwrap_or_else(|| panic!("no {field}: {answer}"))
}

fn supervisors_log(guest: &Guest<'_>) -> String {
    fs::read_to_string(guest.host().paths().supervisor_log(&guest.name().parse().unwrap()))
        .unwrap_or_default()
}

fn an_account_without_room_is_written_later(tree: Tree) {
    let host = Host::new();
    let small = Small::on(&host.paths().state_dir(), "64m");
    let [guest, other] = ["web", "db"].map(|name| host.guest(name).tree(tree).build());
    let aside = host.paths().usage_aside(&"web".parse().unwrap());
    other.start();
    guest.start();
    small.fill();
    // A crash, which the supervisor alone has seen.
    let old = guest.init_pid();
    kill(Pid::from_raw(old), Signal::SIGKILL).expect("it runs");
    guest.wait_for_reboot(old);
    guest.shell("i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done").ok();
    let worked = used(&host, "user_seconds");
    assert!(worked > 0.0);
    assert!(aside.exists());
    // Its supervisor may be killed, and the guest may end.
    guest.kill_supervisor();
    guest.exec(["true"]).ok();
    let uptime = used(&host, "uptime_seconds");
    guest.stop();
    assert_eq!((used(&host, "boots"), used(&host, "crashes")), (2.0, 1.0));
    assert!(used(&host, "uptime_seconds") >= uptime);
    assert!(used(&host, "user_seconds") >= worked);
    assert!(supervisors_log(&guest).contains("kept in /run for now"));
    assert!(other.is_running());

    small.empty();
    guest.start().stop();
    assert!(!aside.exists());
    assert_eq!((used(&host, "boots"), used(&host, "crashes")), (3.0, 1.0));
    assert!(used(&host, "user_seconds") >= worked);
    assert_eq!(other.stop().status().state, "stopped");
}

fn a_log_without_room_goes_on_later(tree: Tree) {
    let host = Host::new();
    let small = Small::on(&host.paths().log_dir(), "1m");
    let guest = host.guest("web").tree(tree).set("console.log_size", "60000").build();
    guest.start();
    // The next page is to be the next file's.
    guest
        .shell("head -c 56500 /dev/zero | tr '\\0' x > /dev/console; echo before > /dev/console")
        .ok();
    let logged =
        |word: &str| eventually(DEADLINE, word, || guest.log().contains(word).then_some(()));
    logged("before");
    small.fill();
    // Nobody inside waits for it.
    guest.shell("yes 'a line that is written often' | head -c 300000 > /dev/console").ok();
    guest.vserver("reboot", [""; 0]).ok();
    guest.vserver("logs", [""; 0]).ok();
    assert!(host.paths().log_dir().join("web.log.1").exists(), "it was rotated");
    let said = supervisors_log(&guest).len();
    small.empty();
    guest.shell("echo after > /dev/console").ok();
    logged("after");
    guest.vserver("reboot", [""; 0]).ok();
    assert!(supervisors_log(&guest).len() > said, "{}", supervisors_log(&guest));
    guest.stop();
    let names = entries(&host.paths().log_dir());
    let known = ["web.boots", "web.log", "web.log.1", "web.supervisor.log"];
    assert!(names.iter().all(|name| known.contains(&name.as_str())), "{names:?}");
}

fn a_log_that_cannot_be_rotated_does_not_grow(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("console.log_size", "60000").build();
    guest.start();
    let log = host.paths().log(&"web".parse().unwrap());
    let old = log.with_extension("log.1");
    fs::create_dir_all(old.join("in the way")).unwrap();
    guest.shell("yes 'a line that is written often' | head -c 300000 > /dev/console").ok();
    assert!(fs::metadata(&log).unwrap().len() <= 60_000);
    fs::remove_dir_all(&old).unwrap();
    guest.shell("echo after > /dev/console").ok();
    eventually(DEADLINE, "it is rotated", || guest.log().contains("after").then_some(()));
    assert!(fs::metadata(&log).unwrap().len() <= 60_000);
    guest.stop();
}

fn a_state_without_room_is_noted_later(tree: Tree) {
    let host = Host::new();
    let small = Small::on(&host.paths().run_dir(), "512k");
    let guest = host.guest("web").tree(tree).build();
    let before = Census::when_quiet(&host);
    guest.write(
        "/etc/inittab",
        "::sysinit:/bin/sh -c 'until [ -e /open ]; do sleep 0.1; done'\n",
        0o644,
    );
    guest.vserver("start", ["--no-wait"]).ok();
    eventually(DEADLINE, "it boots", || (guest.status().state == "booting").then_some(()));
    small.fill();
    guest.shell("touch /open").ok();
    guest.vserver("wait", ["--for", "running"]).ok();
    let log = supervisors_log(&guest);
    assert!(log.contains("cannot write the state file for now"), "{log}");
    assert_eq!(
        entries(&host.paths().guest_run_dir(&"web".parse().unwrap()))
            .iter()
            .filter(|name| name.ends_with(".new"))
            .count(),
        0
    );
    small.empty();
    eventually(DEADLINE * 3, "it is noted", || {
        supervisors_log(&guest).contains("the state file is written again").then_some(())
    });
    guest.stop();
    before.assert_unchanged(&host);
}

fn a_configuration_without_room_stays_as_it_was(tree: Tree) {
    let host = Host::new();
    let directory = host.paths().config_dir();
    let small = Small::on(&directory, "256k");
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let file = directory.join("web.toml");
    let before = (fs::read_to_string(&file).unwrap(), entries(&directory));
    small.fill();
    for (verb, words) in [
        ("set", vec!["description", "another text"]),
        ("set", vec!["network.mode", "none"]),
        ("unset", vec!["hostname"]),
    ] {
        let arguments = [vec!["config", verb, "web"], words].concat();
        host.vserver(&arguments).code(1).complains(NO_ROOM).complains("web.toml");
        assert_eq!((fs::read_to_string(&file).unwrap(), entries(&directory)), before);
    }
    // Nor is there a copy for an editor, which is found out before or after it.
    let mut edit = host.command(["config", "edit", "web"]);
    edit.env("EDITOR", "sh -c 'echo \"# more\" >> \"$1\"' sh");
    let mut terminal = Terminal::open(&edit);
    terminal.expect(NO_ROOM);
    assert_eq!(terminal.end(), 1);
    assert_eq!((fs::read_to_string(&file).unwrap(), entries(&directory)), before);
    small.empty();
    host.vserver(["config", "set", "web", "description", "another text"]).ok();
    guest.stop();
}

fn a_guest_without_room_is_not_built(tree: Tree) {
    let host = Host::new();
    let other = host.guest("db").tree(tree).build();
    other.start();
    let archive = tree.archive();
    let build = || {
        let mut build = host.command(["build", "web", "--method", "template", "--from"]);
        tests::command::run(build.arg(&archive), DEADLINE)
    };
    for (directory, size) in [
        (host.paths().roots_dir(), "1m"),
        (host.paths().state_dir(), "64m"),
        (host.paths().config_dir(), "256k"),
    ] {
        let small = Small::on(&directory, size);
        small.fill();
        let before = (entries(&directory), Census::take(&host));
        build().code(1).complains(NO_ROOM);
        assert_eq!(entries(&directory), before.0, "{}", directory.display());
        before.1.assert_unchanged(&host);
        assert!(!host.paths().root(&"web".parse().unwrap()).exists());
        assert!(!host.paths().config(&"web".parse().unwrap()).exists());
    }
    assert!(other.is_running());
    build().ok();
    other.stop();
}
