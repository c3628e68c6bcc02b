//! Keepers that are killed where systemd runs the supervisors, and supervisors
//! whose guest has just ended.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{DEADLINE, Tree, eventually, executable};

use crate::units::{Guest, Machine, PROGRAM, read, run, systemctl, vserver};

/// What `logs -b` has, once it has this.
#[track_caller]
fn console(guest: &Guest, awaited: &str) -> String {
    eventually(DEADLINE, "it is in the journal", || {
        let log = vserver(&["logs", guest.name(), "-b"]).ok().stdout;
        log.contains(awaited).then_some(log)
    })
}

/// Kills these processes at once; the guest goes on with other ones.
#[track_caller]
fn outlives(guest: &Guest, pids: &[String]) {
    let (init, keeper) = (guest.pid("init_pid"), guest.pid("keeper_pid"));
    // Some may have ended by themselves.
    run("kill", &[&["-9".to_owned()], pids].concat());
    eventually(DEADLINE, "there is another keeper", || {
        vserver(&["exec", guest.name(), "--", "true"]).ok();
        (guest.pid("keeper_pid") != keeper).then_some(())
    });
    assert_eq!(guest.pid("init_pid"), init, "the guest goes on");
    let leader = run("machinectl", &["show", "--property=Leader", "--value", guest.name()]).ok();
    assert_eq!(leader.trimmed(), init.to_string());
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guest_outlives_all_that_the_host_has_of_it() {
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    vserver(&["start", "web"]).ok();
    console(&web, "once: ran");
    let keeper = || web.pid("keeper_pid").to_string();
    for word in ["first", "second"] {
        outlives(&web, &[keeper()]);
        let line = format!("echo the {word} >/dev/console");
        vserver(&["exec", "web", "--", "sh", "-c", &line]).ok();
    }
    // Of all three keepers.
    let log = console(&web, "the second");
    assert!(log.contains("once: ran") && log.contains("the first"), "{log}");
    assert_eq!(log.matches("once: ran").count(), 1, "{log}");

    outlives(&web, &[web.show("MainPID"), keeper()]);
    eventually(DEADLINE, "systemd knows that it is up", || {
        (web.show("ActiveState") == "active").then_some(())
    });
    systemctl(&["stop", "vserver@web"]).ok();
    assert_eq!(web.show("Result"), "success");
    // By itself, and on the console that it has now.
    let log = vserver(&["logs", "web"]).ok().stdout;
    assert!(log.ends_with("rcK: shutdown scripts run\n"), "{log}");

    // And the guard, where there is one: then nobody is left whom systemd knows.
    vserver(&["start", "web"]).ok();
    let unit = "/sys/fs/cgroup/vserver.slice/vserver@web.service/supervisor/cgroup.procs";
    let all: Vec<_> = read(unit).lines().map(str::to_owned).chain([keeper()]).collect();
    outlives(&web, &all);
    vserver(&["stop", "--no-kill", "web"]).ok();
    systemctl(&["reset-failed", "vserver@web"]);
}

/// systemd, or the guard, starts another one, which finds no guest.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_supervisor_killed_after_the_end_boots_nothing() {
    const SCRIPT: &str = "/etc/vservers/web.sh";
    const SAID: &str = "/run/post-stop";
    let machine = Machine::new();
    let web = machine.guest("web", Tree::Busybox);
    let script = "#!/bin/sh\n[ $1 = post-stop ] || exit 0\n\
                  echo begun >>/run/post-stop\nsleep 10\necho done >>/run/post-stop\n";
    executable::write(SCRIPT, script, 0o755);
    for words in [&["exec", "web", "--", "poweroff"][..], &["stop", "web"]] {
        vserver(&["start", "web"]).ok();
        let main = web.show("MainPID");
        let mut ending = Command::new(PROGRAM).args(words).spawn().expect("it runs");
        eventually(DEADLINE, "it cleans up", || Path::new(SAID).exists().then_some(()));
        run("kill", &["-9", &main]).ok();
        assert!(ending.wait().expect("it ends").success());
        eventually(DEADLINE, "the next one has waited for the script", || {
            let has_ended = read(SAID).contains("done");
            (has_ended && web.show("ActiveState") == "inactive").then_some(())
        });
        assert_eq!(read(SAID), "begun\ndone\n");
        assert_eq!(web.show("Result"), "success");
        vserver(&["status", "web"]).code(3);
        fs::remove_file(SAID).expect("it is there");
    }
    fs::remove_file(SCRIPT).expect("it is there");
    vserver(&["start", "web"]).ok();
    vserver(&["stop", "web"]).ok();
}
