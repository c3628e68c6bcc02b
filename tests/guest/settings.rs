//! Settings of the isolation layers that are no escapes to be refused:
//! `hidepid`, resource limits, labels of a host that has none.

use tests::{Host, Tree};

on! { Busybox: [
    hidepid_hides_others_processes,
    sessions_have_the_limits_of_pid_1,
    the_callers_limits_stay_outside,
    a_label_of_no_module_is_refused,
    io_uring_starts_where_doctor_finds_sockets_judged_or_is_refused,
] }

fn hidepid_hides_others_processes(tree: Tree) {
    let host = Host::new();
    for (value, visible) in [("off", true), ("invisible", false)] {
        let guest = host.guest(value).tree(tree).set("security.hidepid", value).build();
        guest.start();
        let seen = host.vserver(["suexec", "user", value, "--", "ls", "/proc"]).ok();
        let init = seen.stdout.split_whitespace().any(|name| name == "1");
        assert_eq!(init, visible, "hidepid = {value}\n{seen}");
        guest.stop();
    }
}

/// The lines of `/proc/PID/limits`, as the guest shows them.
const LIMITS: [&str; 2] = ["cat", "/proc/self/limits"];

fn sessions_have_the_limits_of_pid_1(tree: Tree) {
    let host = Host::new();
    for users in ["private", "identity", "host"] {
        let guest = host.guest(users).tree(tree).set("security.users", users).build();
        guest.start();
        let init = std::fs::read_to_string(format!("/proc/{}/limits", guest.init_pid())).unwrap();
        assert_eq!(guest.exec(LIMITS).ok().stdout, init, "users = {users}");
        for line in ["Max processes             8192 ", "Max core file size        0 "] {
            assert!(init.contains(line), "'{line}' is missing\n{init}");
        }
        guest.stop();
    }
}

fn the_callers_limits_stay_outside(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let wanted = guest.exec(LIMITS).ok().stdout;
    guest.stop();
    let program = tests::host::program();
    let script = format!(
        "ulimit -S -n 77 -u 777 -c 7 -s 1024; {0} start web && {0} exec web -- cat /proc/self/limits",
        program.display()
    );
    let mut shell = std::process::Command::new("/bin/bash");
    shell.args(["-c", &script]).env(vserver::variables::PREFIX, host.prefix());
    let found = tests::command::run(&mut shell, tests::DEADLINE).ok();
    assert_eq!(found.stdout, wanted);
    guest.stop();
}

/// This machine has neither module; where one is active the virtual machine's
/// tests take over.
fn a_label_of_no_module_is_refused(tree: Tree) {
    let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if modules.contains("apparmor") {
        // The profile is then the thing that is missing.
        eprintln!("AppArmor is active here");
    }
    let host = Host::new();
    let guest = host.guest("web").tree(tree).set("security.apparmor", "no-such-profile").build();
    guest
        .vserver("start", [""; 0])
        .code(1)
        .complains("security label")
        .complains("no-such-profile");
    assert!(!guest.is_running());
}

fn io_uring_starts_where_doctor_finds_sockets_judged_or_is_refused(tree: Tree) {
    let host = Host::new();
    let judged = host.vserver(["doctor", "--json"]).stdout;
    let findings: serde_json::Value = serde_json::from_str(&judged).expect("doctor's JSON");
    let all = findings.as_array().expect("a list of findings");
    let judged = all.iter().any(|f| f["topic"] == "socket families" && f["grade"] == "ok");
    let guest = host.guest("web").tree(tree).set("security.io_uring", "true").build();
    if judged {
        guest.start().stop();
    } else {
        guest.vserver("start", [""; 0]).code(1).complains("io_uring");
        assert!(!guest.is_running());
    }
}
