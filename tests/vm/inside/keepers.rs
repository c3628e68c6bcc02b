//! Keepers that are killed where systemd runs the supervisors.

use tests::{DEADLINE, Tree, eventually};

use crate::units::{Guest, Machine, read, run, systemctl, vserver};

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
