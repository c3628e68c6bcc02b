//! `NAME.sh`: actions on the host around a start and a stop.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Census, DEADLINE, Host, Tree, eventually, executable};
use vserver::runtime::{RunDir, State};

on! { Busybox: [
    run_in_order_with_their_environment,
    a_failing_pre_start_stops_the_start,
    run_again_at_a_restart,
    who_is_killed_after_the_end_is_followed_by_no_boot,
    one_at_work_after_an_end_is_outwaited_by_the_next_boot,
    one_before_a_stop_runs_once_however_often_that_is_ordered,
    a_script_asks_its_own_guest,
    what_it_prints_is_in_the_log_and_in_the_error,
    one_that_others_may_change_isnt_run,
] }

pub fn install(host: &Host, script: &str) -> PathBuf {
    let record = host.prefix().join("actions");
    let path = host.paths().config_dir().join("web.sh");
    let script = script.replace("RECORD", &record.to_string_lossy());
    executable::write(&path, script, 0o755);
    record
}

pub fn lines(record: &PathBuf) -> Vec<String> {
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

/// It is answered while it runs, or told at once that it can't be.
fn a_script_asks_its_own_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let script = "#!/bin/sh\n{\necho $1\ncase $1 in\n\
                  post-start) PROGRAM exec $2 -- touch /srv/up; PROGRAM stop $2 ;;\n\
                  pre-stop) PROGRAM exec $2 -- mv /srv/up /srv/down ;;\n\
                  *) PROGRAM exec $2 -- true ;;\nesac\n\
                  PROGRAM status $2 | head -n 1\n} >>RECORD 2>&1\n";
    let program = tests::host::program();
    let record = install(&host, &script.replace("PROGRAM", &program.to_string_lossy()));
    // Neither waits for the other until that is killed.
    let began = Instant::now();
    guest.start();
    guest.exec(["test", "-e", "/srv/up"]).ok();
    guest.stop();
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", lines(&record));
    assert!(guest.root().join("srv/down").exists());
    let said = lines(&record);
    let refused = said.iter().filter(|line| line.contains("waits for the end of 'web.sh'")).count();
    assert_eq!(refused, 3, "{said:?}");
    assert_eq!(said.iter().filter(|line| line.contains("'web'")).count(), 3 + 4, "{said:?}");
}

fn what_it_prints_is_in_the_log_and_in_the_error(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    install(
        &host,
        "#!/bin/sh\necho $1 is here\n[ $1 != pre-start ] || { echo oops >&2; exit 3; }\n",
    );
    guest.vserver("start", [""; 0]).code(1).complains("exit status: 3: pre-start is here: oops");
    // What it leaves running is heard after its end.
    let later = "#!/bin/sh\n[ $1 = post-start ] || exit 0\n\
                 (while [ ! -e RECORD.go ]; do sleep 0.1; done; echo later; echo so it is) &\n";
    let record = install(&host, later);
    guest.start();
    fs::write(record.with_extension("go"), "").expect("it can be written");
    let log = host.paths().supervisor_log(&"web".parse().expect("a name"));
    eventually(DEADLINE, "it is in the log", || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let all = ["pre-start: oops", "post-start: later", "post-start: so it is"];
        all.iter().all(|line| log.contains(line)).then_some(())
    });
    guest.stop();
}

fn one_that_others_may_change_isnt_run(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let record = install(&host, "#!/bin/sh\necho $1 >>RECORD\n");
    let path = host.paths().actions(&"web".parse().expect("a name"));
    let mode = |mode| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it can be set");
    };
    mode(0o777);
    guest.vserver("start", [""; 0]).code(1).complains("chmod go-w");
    host.vserver(["config", "check", "web"]).ok().complains("others than root may change it");
    mode(0o755);
    chown(&path, Some(1000), None).expect("root may");
    guest.vserver("start", [""; 0]).code(1).complains("chown root");
    host.vserver(["config", "check", "web"]).ok().complains("chown root");
    chown(&path, Some(0), None).expect("root may");
    mode(0o644);
    host.vserver(["config", "check", "web"]).ok().complains("isn't executable, and so not run");
    guest.start().stop();
    assert_eq!(lines(&record), [""; 0]);
}

/// After the guest's end it is at work until it is told to go on.
const WAITS_AFTER_THE_END: &str = "#!/bin/sh\necho $1 >>RECORD\n[ $1 = post-stop ] || exit 0\n\
    while [ ! -e RECORD.go ]; do sleep 0.1; done\necho done >>RECORD\n";

/// As a service manager does it, which starts another supervisor in the place of one
/// that was killed.
fn who_is_killed_after_the_end_is_followed_by_no_boot(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    let record = install(&host, WAITS_AFTER_THE_END);
    let go = record.with_extension("go");
    let ways: [&[&str]; 2] = [&["stop", "web"], &["exec", "web", "--", "poweroff"]];
    for words in ways {
        guest.start();
        let supervisor = guest.status().supervisor_pid.expect("it has one");
        let mut ending = host.command(words).stdout(Stdio::null()).spawn().expect("it runs");
        until_begun(&host, &record, "post-stop");
        kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it lives");
        let mut next = host.command(["supervise", "web"]).spawn().expect("it runs");
        until_outwaited(&host, "post-stop");
        fs::write(&go, "").expect("it can be written");
        assert!(next.wait().expect("it ends").success());
        assert!(ending.wait().expect("it ends").success());
        assert!(!guest.is_running());
        let after = lines(&record);
        let after = after.iter().skip_while(|line| *line != "post-stop");
        assert!(after.eq(["post-stop", "done"]), "once, and no boot");
        fs::remove_file(&go).expect("it is there");
        fs::remove_file(&record).expect("it is there");
    }
    // Whoever wants it has it at once.
    fs::write(&go, "").expect("it can be written");
    guest.start();
    guest.stop();
    before.assert_unchanged(&host);
}

/// Waits until the script is at work, and its supervisor has noted that.
fn until_begun(host: &Host, record: &PathBuf, action: &str) {
    let state = RunDir::new(host.paths(), &"web".parse().expect("a name")).state();
    eventually(DEADLINE, "it is at work", || {
        let is_noted = State::read(&state).script.is_some_and(|script| script.action == action);
        (is_noted && lines(record).last().is_some_and(|line| line == action)).then_some(())
    });
}

/// Waits until the next supervisor does: that is in the log, which is emptied.
fn until_outwaited(host: &Host, action: &str) {
    let log = host.paths().supervisor_log(&"web".parse().expect("a name"));
    let line = format!("'{action}', begun by another supervisor, is waited for");
    eventually(DEADLINE, "the next supervisor waits", || {
        fs::read_to_string(&log).unwrap_or_default().contains(&line).then_some(())
    });
    fs::write(&log, "").expect("it can be written");
}

/// What one begins that the supervisor was killed with is done before there is a boot.
fn one_at_work_after_an_end_is_outwaited_by_the_next_boot(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let before = Census::after_a_boot(&guest);
    let record = install(&host, WAITS_AFTER_THE_END);
    guest.start();
    let supervisor = guest.status().supervisor_pid.expect("it has one");
    let mut stop = guest.command("stop", [""; 0]).spawn().expect("it runs");
    until_begun(&host, &record, "post-stop");
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it lives");
    assert!(stop.wait().expect("it ends").success());
    let mut start = guest.command("start", [""; 0]).spawn().expect("it runs");
    until_outwaited(&host, "post-stop");
    assert_eq!(lines(&record).last().map(String::as_str), Some("post-stop"));
    fs::write(record.with_extension("go"), "").expect("it can be written");
    assert!(start.wait().expect("it ends").success());
    guest.stop();
    let boot = ["pre-start", "post-start", "pre-stop", "post-stop", "done"];
    assert_eq!(lines(&record), [boot, boot].concat());
    before.assert_unchanged(&host);
}

/// Also by who finds another supervisor meanwhile, and when the guest takes its time.
fn one_before_a_stop_runs_once_however_often_that_is_ordered(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.write("/etc/init.d/rcK", "#!/bin/sh\nuntil [ -e /go ]; do sleep 0.1; done\n", 0o755);
    let script = "#!/bin/sh\necho $1 >>RECORD\n[ $1 = pre-stop ] || exit 0\n\
                  while [ ! -e RECORD.go ]; do sleep 0.1; done\necho done >>RECORD\n";
    let record = install(&host, script);
    guest.start();
    let supervisor = guest.status().supervisor_pid.expect("it has one");
    let stop = || guest.command("stop", [""; 0]).spawn().expect("it runs");
    let mut first = stop();
    until_begun(&host, &record, "pre-stop");
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it lives");
    until_outwaited(&host, "pre-stop");
    let mut second = stop();
    fs::write(record.with_extension("go"), "").expect("it can be written");
    eventually(DEADLINE, "it shuts down", || (guest.status().state == "stopping").then_some(()));
    let mut third = stop();
    // Long enough for it to be heard.
    thread::sleep(Duration::from_secs(1));
    guest.write("/go", "", 0o644);
    for stop in [&mut first, &mut second, &mut third] {
        assert!(stop.wait().expect("it ends").success());
    }
    assert_eq!(lines(&record), ["pre-start", "post-start", "pre-stop", "done", "post-stop"]);
}
