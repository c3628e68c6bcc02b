//! A unit, or the slice of all, that has no more to give: what can't be done says
//! which limit it is, what runs goes on, and when the limit is lifted everything is
//! as it would have been.

use std::path::Path;

use tests::{DEADLINE, Finished, Host, Tree, eventually, process};

use crate::units::{Guest, Machine, read, systemctl, vserver};

/// A property of a unit, until it is dropped.
struct Limit<'u> {
    unit: &'u str,
    lifted: String,
}

impl<'u> Limit<'u> {
    fn set(unit: &'u str, property: &str, value: &str) -> Self {
        systemctl(&["set-property", "--runtime", unit, &format!("{property}={value}")]).ok();
        Self { unit, lifted: format!("{property}=infinity") }
    }
}

impl Drop for Limit<'_> {
    fn drop(&mut self) {
        systemctl(&["set-property", "--runtime", self.unit, &self.lifted]);
    }
}

fn processes(guest: &Guest) -> [i32; 3] {
    ["init_pid", "keeper_pid", "supervisor_pid"].map(|who| guest.pid(who))
}

/// Says that it is a limit on processes, and whose.
#[track_caller]
fn names_the_limit(finished: Finished) {
    finished
        .complains("Resource temporarily unavailable")
        .complains("TasksMax= of the guest's unit");
}

fn is_left(name: &str) -> bool {
    let cgroup = format!("/sys/fs/cgroup/vserver.slice/vserver@{name}.service");
    Path::new(&cgroup).exists() || Path::new("/run/vserver").join(name).exists()
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_unit_without_room_for_processes_keeps_its_guest() {
    let machine = Machine::new();
    let [web, other] = ["web", "other"].map(|name| machine.guest(name, Tree::Busybox));
    // Its scripts can't be forked either.
    vserver(&["config", "set", "web", "boot.kill_grace", "1s"]).ok();
    vserver(&["config", "set", "web", "boot.stop_timeout", "2s"]).ok();
    systemctl(&["start", &web.unit(), &other.unit()]).ok();
    let before = (processes(&web), processes(&other));

    let full = Limit::set("vserver@web.service", "TasksMax", "1");
    names_the_limit(vserver(&["exec", "web", "--", "true"]).code(125));
    for words in [["pause", "web"], ["resume", "web"], ["limits", "web"], ["reload", "web"]] {
        vserver(&words).ok();
    }
    assert_eq!((processes(&web), processes(&other)), before);
    vserver(&["exec", "other", "--", "true"]).ok();
    // systemd finds no room for the next one; the next command makes it itself.
    systemctl(&["kill", "--kill-whom=main", "--signal=KILL", &web.unit()]).ok();
    eventually(DEADLINE, "it is dead", || (!process::is_alive(before.0[2])).then_some(()));
    assert_eq!(web.pid("init_pid"), before.0[0]);
    drop(full);
    vserver(&["exec", "web", "--", "true"]).ok();
    systemctl(&["reset-failed", &web.unit()]);
    systemctl(&["start", &web.unit()]).ok();
    eventually(DEADLINE, "systemd has its supervisor again", || {
        (web.show("MainPID") == web.pid("supervisor_pid").to_string()).then_some(())
    });
    assert_eq!(web.show("ActiveState"), "active");
    assert_eq!(processes(&web)[..2], before.0[..2]);

    // It goes down, and comes up when it can.
    let full = Limit::set("vserver@web.service", "TasksMax", "1");
    names_the_limit(vserver(&["reboot", "web"]).code(1));
    let ended = web.status()["last_end"].to_string();
    assert!(ended.contains("Resource temporarily unavailable"), "{ended}");
    drop(full);
    eventually(DEADLINE, "it is up", || (web.status()["state"] == "running").then_some(()));

    // Nor does a stop need room.
    let full = Limit::set("vserver@web.service", "TasksMax", "1");
    let init = web.pid("init_pid");
    systemctl(&["stop", &web.unit()]);
    eventually(DEADLINE, "nothing of it is left", || (!is_left("web")).then_some(()));
    assert!(!process::is_alive(init));
    systemctl(&["reset-failed", &web.unit()]);
    let start = vserver(&["start", "web"]).code(1);
    assert!(start.stderr.contains("TasksMax="), "{start}");
    eventually(DEADLINE, "nothing of it is left", || (!is_left("web")).then_some(()));
    drop(full);
    systemctl(&["reset-failed", &web.unit()]);
    vserver(&["start", "web"]).ok();
    vserver(&["stop", "web"]).ok();
    assert_eq!(processes(&other), before.1, "the other one has noticed nothing");
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_slice_without_room_for_processes_keeps_its_guests() {
    let machine = Machine::new();
    let [web, late] = ["web", "late"].map(|name| machine.guest(name, Tree::Busybox));
    systemctl(&["start", &web.unit()]).ok();
    let before = processes(&web);
    let full = Limit::set("vserver.slice", "TasksMax", "1");
    names_the_limit(vserver(&["exec", "web", "--", "true"]).code(125));
    let start = vserver(&["start", "late"]).code(1);
    assert!(start.stderr.contains("TasksMax="), "{start}");
    eventually(DEADLINE, "nothing of it is left", || (!is_left("late")).then_some(()));
    assert_eq!(processes(&web), before);
    drop(full);
    systemctl(&["reset-failed", &late.unit()]);
    vserver(&["start", "late"]).ok();
    vserver(&["exec", "web", "--", "true"]).ok();
    for guest in [web, late] {
        systemctl(&["stop", &guest.unit()]).ok();
        assert_eq!(guest.show("Result"), "success");
    }
}

fn score(pid: i32) -> String {
    read(&format!("/proc/{pid}/oom_score_adj")).trim().to_owned()
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn memory_is_taken_from_a_guest_first_where_it_is_no_unit_too() {
    let host = Host::new();
    let guest = host.guest("web").build();
    guest.start();
    let status = guest.status();
    let pids = [status.init_pid, status.keeper_pid, status.supervisor_pid];
    assert_eq!(pids.map(|pid| score(pid.expect("it runs"))), ["0", "-999", "-999"]);
    guest.exec(["cat", "/proc/self/oom_score_adj"]).ok().says("0\n");
    guest.stop();
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_unit_without_memory_loses_neither_supervisor_nor_keeper() {
    // None of them is as large as a supervisor may be.
    const CROWD: &str = "for i in $(seq 30); do \
        (head -c 3000000 /dev/zero; sleep 100000) | tail -c 3000000 & done";
    let machine = Machine::new();
    let [web, other] = ["web", "other"].map(|name| machine.guest(name, Tree::Busybox));
    systemctl(&["start", &web.unit(), &other.unit()]).ok();
    let before = (processes(&web), processes(&other));
    assert_eq!(before.0.map(score), ["0", "-999", "-999"]);
    vserver(&["exec", "web", "--", "cat", "/proc/self/oom_score_adj"]).ok().says("0\n");

    let little = Limit::set("vserver@web.service", "MemoryMax", "64M");
    vserver(&["exec", "web", "--", "sh", "-c", CROWD]);
    let kills = || web.status()["memory_kills"].as_f64().unwrap_or_default();
    eventually(DEADLINE, "the kernel has killed some", || (kills() > 0.0).then_some(()));
    assert_eq!((processes(&web), processes(&other)), before);
    drop(little);
    vserver(&["exec", "web", "--", "true"]).ok();
    systemctl(&["stop", &web.unit()]).ok();
    assert_eq!(web.show("Result"), "success");
    assert_eq!(processes(&other), before.1);
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_unit_without_memory_is_not_started_and_leaves_nothing() {
    let machine = Machine::new();
    let [late, other] = ["late", "other"].map(|name| machine.guest(name, Tree::Busybox));
    systemctl(&["start", &other.unit()]).ok();
    let before = processes(&other);
    let unit = late.unit();
    let full = Limit::set(&unit, "MemoryMax", "256K");
    let start = vserver(&["start", "late"]).code(1);
    assert!(
        start.stderr.contains("guest 'late'") && start.stderr.contains("MemoryMax="),
        "{start}"
    );
    eventually(DEADLINE, "nothing of it is left", || (!is_left("late")).then_some(()));
    assert_eq!(processes(&other), before);
    drop(full);
    systemctl(&["reset-failed", &unit]);
    vserver(&["start", "late"]).ok();
    vserver(&["stop", "late"]).ok();
    systemctl(&["stop", &other.unit()]).ok();
}
