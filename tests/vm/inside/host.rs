//! What kind of host this is, and that vserver fits in with its systemd.

use std::fs;
use std::process::Command;

use tests::{DEADLINE, Finished, Guest, Host, command, process};
use vserver::variables;

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn is_the_host_that_these_tests_are_about() {
    assert_eq!(read("/proc/1/comm"), "systemd\n");
    let release = read("/proc/sys/kernel/osrelease");
    let is_stock = ["6.1.0-", "6.12."].iter().any(|start| release.starts_with(start));
    assert!(is_stock && release.ends_with("-cloud-amd64\n"), "{release}");
    let mounts = read("/proc/self/mountinfo");
    assert!(!mounts.contains(" - cgroup "), "no hierarchy of version 1\n{mounts}");
    let controllers = read("/sys/fs/cgroup/cgroup.controllers");
    for controller in ["cpuset", "cpu", "io", "memory", "pids"] {
        assert!(controllers.split_whitespace().any(|word| word == controller), "{controllers}");
    }
    let modules = read("/sys/kernel/security/lsm");
    for module in ["apparmor", "bpf", "landlock"] {
        assert!(modules.split(',').any(|word| word == module), "{modules}");
    }
}

#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn doctor_finds_nothing_that_guests_lack() {
    let host = Host::new();
    let answer = host.vserver(["doctor", "--json"]).ok();
    assert!(!answer.stdout.contains("\"missing\""), "{answer}");
    assert!(answer.stdout.contains("\"ok\""), "{answer}");
    let findings: serde_json::Value =
        serde_json::from_str(&answer.stdout).expect("findings are JSON");
    let findings = findings.as_array().expect("findings are a list");
    for topic in ["socket families", "guests' processes"] {
        let finding = findings.iter().find(|finding| finding["topic"] == topic);
        assert_eq!(finding.expect("it is looked at")["grade"], "ok", "{answer}");
    }
    host.configure("web", "context = 1000\n");
    let effective = host.vserver(["config", "show", "web", "--effective"]).ok();
    assert!(effective.stdout.contains("at most 8000, and as many in sessions"), "{effective}");
}

/// Whatever a service leaves in its cgroup is killed with it.
#[test]
#[ignore = "root: only in the virtual machine of tests/vm"]
fn a_guest_outlives_the_service_that_started_it() {
    let host = Host::new();
    let guest = host.guest("web").build();
    let service = started_by_a_service(&host, &guest);
    assert!(systemctl(&["is-active", &service]).code != 0, "the service has ended");
    let status = guest.status();
    assert_eq!(status.state, "running", "{status:?}");
    for pid in [status.supervisor_pid, status.keeper_pid, status.init_pid] {
        let pid = pid.unwrap_or_else(|| panic!("one is gone: {status:?}"));
        assert!(process::is_alive(pid), "{status:?}");
        let cgroup = read(&format!("/proc/{pid}/cgroup"));
        assert!(!cgroup.contains(".service"), "a service's cgroup: {cgroup}");
    }
    guest.exec(["cat", "/proc/1/comm"]).ok().says("guest-init\n");
    guest.stop();
}

/// Runs `vserver start` as systemd runs a service.
fn started_by_a_service(host: &Host, guest: &Guest<'_>) -> String {
    let name = format!("start-{}.service", host.paths().instance());
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--wait", "--collect", "--unit", &name]);
    run.arg(format!("--setenv={}={}", variables::PREFIX, host.prefix().display()));
    run.arg(tests::host::program()).args(["start", guest.name()]);
    command::run(&mut run, DEADLINE).ok();
    name
}

#[track_caller]
fn systemctl(words: &[&str]) -> Finished {
    command::run(Command::new("systemctl").args(words), DEADLINE)
}

#[track_caller]
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|cause| panic!("cannot read {path}: {cause}"))
}
