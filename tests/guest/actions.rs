//! `NAME.sh`: actions on the host around a start and a stop.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Census, DEADLINE, Host, Tree, eventually, executable};

on! { Busybox: [
    run_in_order_with_their_environment,
    a_failing_pre_start_stops_the_start,
    run_again_at_a_restart,
    who_is_killed_after_the_end_is_followed_by_no_boot,
] }

fn install(host: &Host, script: &str) -> PathBuf {
    let record = host.prefix().join("actions");
    let path = host.paths().config_dir().join("web.sh");
    let script = script.replace("RECORD", &record.to_string_lossy());
    executable::write(&path, script, 0o755);
    record
}

fn lines(record: &PathBuf) -> Vec<String> {
    fs::read_to_string(record).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn run_in_order_with_their_environment(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let script = "#!/bin/sh\necho \"$1 $2 $VSERVER_NAME $VSERVER_ACTION $VSERVER_CONTEXT $VSERVER_ROOT\" >>RECORD\n";
    let record = install(&host, script);
    guest.start();
    let context = guest.status().context;
    guest.stop();
    let root = guest.root();
    let expected = ["pre-start", "post-start", "pre-stop", "post-stop"]
        .map(|action| format!("{action} web web {action} {context} {}", root.display()));
    assert_eq!(lines(&record), expected);
}

fn a_failing_pre_start_stops_the_start(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    let record = install(&host, "#!/bin/sh\necho $1 >>RECORD\n[ $1 != pre-start ] || exit 3\n");
    guest.vserver("start", [""; 0]).code(1).complains("pre-start");
    assert!(!guest.is_running());
    assert_eq!(lines(&record).first().map(String::as_str), Some("pre-start"));
    assert!(!lines(&record).contains(&"post-start".to_owned()));
    before.assert_unchanged(&host);
}

fn run_again_at_a_restart(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let record = install(&host, "#!/bin/sh\necho $1 >>RECORD\n");
    guest.start();
    guest.vserver("restart", [""; 0]).ok();
    guest.stop();
    let round = ["pre-start", "post-start", "pre-stop", "post-stop"];
    assert_eq!(lines(&record), [round, round].concat());
}

/// As a service manager does it, which starts another supervisor in the place of one
/// that was killed.
fn who_is_killed_after_the_end_is_followed_by_no_boot(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    let script = "#!/bin/sh\necho $1 >>RECORD\n[ $1 = post-stop ] || exit 0\n\
                  while [ ! -e RECORD.go ]; do sleep 0.1; done\necho done >>RECORD\n";
    let record = install(&host, script);
    let go = record.with_extension("go");
    let ways: [&[&str]; 2] = [&["stop", "web"], &["exec", "web", "--", "poweroff"]];
    for words in ways {
        guest.start();
        let supervisor = guest.status().supervisor_pid.expect("it has one");
        let mut ending = host.command(words).stdout(Stdio::null()).spawn().expect("it runs");
        eventually(DEADLINE, "it cleans up", || {
            (lines(&record).last().map(String::as_str) == Some("post-stop")).then_some(())
        });
        kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it lives");
        fs::write(&go, "").expect("it can be written");
        let next = host.vserver(["supervise", "web"]).ok();
        assert!(ending.wait().expect("it ends").success(), "{next}");
        assert!(!guest.is_running());
        eventually(DEADLINE, "it was run twice", || {
            let ends = lines(&record).iter().filter(|line| *line == "done").count();
            (ends == 2).then_some(())
        });
        fs::remove_file(&go).expect("it is there");
        fs::remove_file(&record).expect("it is there");
    }
    // Whoever wants it has it at once.
    fs::write(&go, "").expect("it can be written");
    guest.start();
    guest.stop();
    before.assert_unchanged(&host);
}
